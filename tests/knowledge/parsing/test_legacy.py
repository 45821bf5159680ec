"""Word and PowerPoint 97, as LibreOffice writes them; packed, for their formats are wordy."""

import gzip
from pathlib import Path

import pytest

from knowledge.parsing import parse

LEGACY = Path(__file__).parent / "legacy"


@pytest.fixture
def legacy(tmp_path):
    def unpacked(name):
        path = tmp_path / name
        path.write_bytes(gzip.decompress((LEGACY / f"{name}.gz").read_bytes()))
        return parse(path, name)

    return unpacked


def test_word_97(legacy):
    parsed = legacy("manual.doc")
    assert [(block.kind, block.text) for block in parsed.blocks[:2]] == [
        ("heading", "值班手册"),
        ("paragraph", "磁盘使用率超过 90% 时，先清理日志：再扩容。"),
    ]
    (table,) = (block for block in parsed.blocks if block.kind == "table")
    assert table.rows == [["级别", "时限"], ["P1", "15 分钟"]]


def test_powerpoint_97(legacy):
    parsed = legacy("slides.ppt")
    assert parsed.pages == 1
    assert parsed.blocks[0].text == "主机重启步骤"
    assert "systemctl reboot" in parsed.blocks[1].text
    assert all(block.page == 1 for block in parsed.blocks)

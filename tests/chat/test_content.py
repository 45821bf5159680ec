"""Messages that make patterns try very many ways must not hold a turn up."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from chat import content, understanding
from chat.tools import choosing

PROMPTS = Path(content.__file__).parent / "prompts"
TOOLS = [SimpleNamespace(name=name) for name in ("export_pdf", "export_docx", "search_knowledge")]


def pieces(name: str) -> list[str]:
    """The literal pieces that the patterns are made of."""
    text = (PROMPTS / f"{name}.toml").read_text("utf-8")
    return sorted(set(re.findall(r"[\u4e00-\u9fff]{1,6}|[A-Za-z]{2,12} ?", text)))


@pytest.mark.parametrize("name", ["intents", "tools"])
def test_no_pattern_is_given_up(name, caplog, monkeypatch):
    monkeypatch.setattr(content, "SECONDS", 2)  # a thousand times what it should take
    for piece in pieces(name):
        for text in (piece * 28 + "龘", piece * (understanding.LONGEST // len(piece) - 1) + "龘"):
            understanding.intent(text, answered=True)
            understanding.mood(text)
            choosing.confirms(text)
            choosing.cancels(text)
            choosing.by_words(text, TOOLS)
            assert not caplog.messages, piece


def test_what_takes_too_long_fits_nothing(caplog):
    ambiguous = content.Pattern(["(就|是|就是)*"])
    assert ambiguous.fullmatch("就是" * 5)
    assert ambiguous.fullmatch("就是" * 40 + "龘") is None
    assert "Gave up" in caplog.text

"""How much is read of real documents, where OPSDESK_DATA names a folder that has them."""

import json
import os
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from evaluation import parsing_benchmark as benchmark
from evaluation.metrics import mean
from knowledge.parsing import parse
from knowledge.parsing.rendering import to_markdown

DOCUMENTS = Path(os.environ.get("OPSDESK_DATA", "/nonexistent")) / "documents"
REFERENCED = 18
# Text recall. Below these a change has lost something; what is missing now says docs/parsing.md.
AVERAGE = 0.975
LEAST = 0.99
LEAST_OF = {
    "mineru__xlsx_01.xlsx": 0.82,  # the reference counts the code of a picture in a cell
    "docling__equations.docx": 0.94,  # other LaTeX for the same formulas
    "docling__pptx_chart.pptx": 0.96,
    "mineru__docx_01.docx": 0.97,  # page numbers of the table of contents
    "docling__docx_rich_cells.docx": 0.98,
}


def known():
    if not (DOCUMENTS / "manifest.jsonl").exists():
        return []
    return [case for case in benchmark.cases(DOCUMENTS) if case.reference]


@pytest.mark.skipif(
    not known(), reason=f"OPSDESK_DATA is not set: {REFERENCED} documents not compared"
)
def test_text_of_real_documents():
    read = {}
    for case in known():
        text = to_markdown(parse(case.path, case.path.name), case.path.name)
        read[case.path.name] = benchmark.compare(case.reference, text)["text"]
    assert len(read) == REFERENCED
    lost = {name: share for name, share in read.items() if share < LEAST_OF.get(name, LEAST)}
    assert not lost
    assert mean(read.values()) >= AVERAGE


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.md").write_text(
        "# 值班\n\n先看告警，再看日志。\n\n| 级别 | 时限 |\n|-|-|\n| P1 | 5 |\n"
    )
    (tmp_path / "a.ref").write_text(
        "# 值班\n\n先看告警，再看日志。\n\n| 级别 | 时限 |\n|-|-|\n| P1 | 9 |\n\n# 没有的一节\n"
    )
    (tmp_path / "b.html").write_text("")
    lines = [{"file": "a.md", "groundtruth": "a.ref"}, {"file": "b.html", "groundtruth": None}]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def test_files_are_measured_each_in_a_process(folder):
    out = StringIO()
    options = {"parsers": ["opsdesk"], "json": folder / "figures.json", "stdout": out}
    call_command("bench_parse", folder, **options)
    rows = json.loads((folder / "figures.json").read_text())["opsdesk"]
    measured = rows["a.md"]
    assert 0.5 < measured["text"] < 1 and measured["cells"] == 0.75
    assert measured["neighbours"] == 0.5 and measured["headings"] == 0.5
    assert measured["order"] == 1 and measured["added"] > 0
    assert measured["seconds"] > 0 and measured["MB"] > 10
    assert "空" in rows["b.html"]["error"] and "text" not in rows["b.html"]
    assert "mean of the files with a reference" in out.getvalue()


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(CommandError, match=str(tmp_path)):
        call_command("bench_parse", tmp_path)


def test_text_is_compared_without_marks_and_addresses():
    found = benchmark.compare("**重启** [说明](http://a/b) `nginx`", "重启说明 nginx")
    assert found["text"] == 1 and found["added"] == 0
    assert benchmark.compare("甲乙丙", "甲乙")["text"] == 0.5
    assert benchmark.compare("甲乙", "甲乙 甲乙")["added"] > 0.6  # said twice


def test_order_counts_lines_that_keep_it():
    lines = [f"这是第{number}行的全部文字" for number in "一二三四"]
    assert benchmark.order("\n".join(lines), "\n".join(lines)) == 1
    assert benchmark.order("\n".join(lines), "\n".join(lines[::-1])) == 0.25
    assert benchmark.order("\n".join(lines), "别的") is None

"""A file that takes several subprocesses, each of which may die."""

import io
import sys
from types import SimpleNamespace

import pytest
from docx import Document

from knowledge.parsing import Unfinished, job, parse, pictures, sandbox
from knowledge.parsing.document import Asset, Block, ParsedDocument
from knowledge.parsing.unreadable import Unreadable
from tests.knowledge.parsing import files

# Stands for the parser of a scan of four pages. A file tells what it has done; the orders of
# the test say at which page it dies.
READER = """
import json, os, sys, time
from knowledge.parsing import parts, worker
from knowledge.parsing.document import Block, ParsedDocument
from knowledge.parsing.parts import Part
orders = json.loads(sys.argv[1])
out = sys.stdout.buffer
dies = set(open({dies!r}).read().split())
steps = orders.get("steps")
if steps is None:
    steps = [f"page:{{number}}" for number in (1, 2, 3, 4)]
    parts.write(Part("plan", ParsedDocument(pages=4), steps), out)
def made():
    for step in steps:
        open({log!r}, "a").write(step + " ")
        if step in dies or "once-" + step in dies:
            kept = dies - {{"once-" + step}}
            open({dies!r}, "w").write(" ".join(kept))
            os.abort()
        (number,) = parts.numbers(step)
        block = Block("paragraph", f"Seite {{number}}", page=number, box=(0.1, 0.1, 0.9, 0.2))
        yield Part(step, ParsedDocument(blocks=[block], parser="test"))
for part in parts.until(time.monotonic() + {seconds}, made()):
    parts.write(part, out)
"""


class Memory(dict):
    def load(self):
        return dict(self)

    def save(self, name, part):
        self[name] = part


@pytest.fixture
def scan(tmp_path, monkeypatch):
    """Run the reader above in the parser's place; gives its log."""

    def use(dies="", seconds=60):
        script, log, orders = (tmp_path / name for name in ("reader.py", "log", "dies"))
        for path, text in ((log, ""), (orders, dies)):
            path.write_text(text)
            path.chmod(0o666)
        script.write_text(READER.format(dies=str(orders), log=str(log), seconds=seconds))
        monkeypatch.setattr(sandbox, "PROGRAM", (sys.executable, str(script)))
        return log

    tmp_path.chmod(0o755)
    return use


def read(tmp_path, **options):
    path = tmp_path / "scan.pdf"
    path.write_bytes(b"x")
    return job.Job(**options).read(path, "application/pdf", None)


def texts(parsed):
    return [block.text for block in parsed.blocks]


def test_one_subprocess_after_the_other(scan, tmp_path):
    log = scan(seconds=0)  # each stops after one page
    told = []
    parsed = read(tmp_path, report=lambda *counts: told.append(counts))
    assert texts(parsed) == ["Seite 1", "Seite 2", "Seite 3", "Seite 4"]
    assert log.read_text().split() == ["page:1", "page:2", "page:3", "page:4"]
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_what_was_finished_is_not_read_again(scan, tmp_path):
    log = scan(seconds=0)
    store = Memory()

    def killed(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(tmp_path, store=store, report=killed)
    assert set(store) == {"plan", "page:1", "page:2"}
    parsed = read(tmp_path, store=store)
    assert len(texts(parsed)) == 4
    assert log.read_text().split() == ["page:1", "page:2", "page:3", "page:4"]


def test_when_the_time_is_over_the_rest_is_for_the_next(scan, tmp_path, monkeypatch, settings):
    log = scan(seconds=0)
    settings.PARSE_SECONDS = 240
    now = [0.0]
    monkeypatch.setattr(job, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def a_while(done, total):
        now[0] += 100 * bool(done)

    store = Memory()
    with pytest.raises(Unfinished):
        read(tmp_path, store=store, seconds=240, report=a_while)
    assert set(store) == {"plan", "page:1", "page:2"}
    assert len(texts(read(tmp_path, store=store, seconds=240, report=a_while))) == 4
    assert log.read_text().split() == ["page:1", "page:2", "page:3", "page:4"]


def test_a_page_that_kills_its_reader_is_left_out(scan, tmp_path):
    log = scan(dies="page:2")
    parsed = read(tmp_path)
    assert texts(parsed) == ["Seite 1", "Seite 3", "Seite 4"]
    assert parsed.warnings == ["broken_pages:2"]
    assert log.read_text().split().count("page:2") == 2  # once more, alone
    assert log.read_text().split().count("page:3") == 1


def test_a_reader_that_died_by_chance_loses_nothing(scan, tmp_path):
    scan(dies="once-page:3")
    parsed = read(tmp_path)
    assert len(texts(parsed)) == 4 and parsed.warnings == []


def test_a_file_that_kills_at_once_is_refused(tmp_path, monkeypatch):
    script = tmp_path / "reader.py"
    script.write_text("import os; os.abort()")
    tmp_path.chmod(0o755)
    monkeypatch.setattr(sandbox, "PROGRAM", (sys.executable, str(script)))
    with pytest.raises(Unreadable, match="crashed"):
        read(tmp_path)


def test_pictures_are_read_the_largest_first_and_icons_not(scan):
    log = scan()
    sizes = [(24, 24), (300, 200), (900, 600), (2000, 40), (300, 200)]
    assets = [Asset("picture", width=w, height=h, data=b"x") for w, h in sizes]
    blocks = [Block("picture", asset=index) for index in range(len(assets))]
    blocks[4].text = assets[4].text = "was steht schon in der Textebene der Seite"
    parsed = ParsedDocument(blocks=blocks, assets=assets)
    chosen = pictures.worth_reading(parsed, described=False)
    assert chosen == [2, 1]
    job.Job().read_pictures(parsed, chosen)
    assert log.read_text().split() == ["picture:2", "picture:1"]
    assert (assets[2].text, blocks[2].text) == ("Seite 2", "Seite 2")


def test_a_warning_is_given_once_however_often_it_is_gone_on(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MOST", 1)
    document = Document()
    for color in ("red", "blue"):
        document.add_picture(io.BytesIO(files.picture(text="ORA-01555", color=color)))
    document.save(tmp_path / "a.docx")
    store = Memory()
    first = parse(tmp_path / "a.docx", "a.docx", store=store)
    assert len(first.warnings) == 1 and store
    assert parse(tmp_path / "a.docx", "a.docx", store=store).warnings == first.warnings

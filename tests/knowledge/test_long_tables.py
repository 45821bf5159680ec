"""A CSV that is too long to be held as a whole comes in part by part, and is one table."""

import tracemalloc

import pytest
from django.core.files.base import ContentFile

from knowledge import curating, indexing, pages, retrieval, tasks, uploading
from knowledge.models import Chunk, KnowledgeBase, Lexicon, Status
from knowledge.parsing import longtable
from knowledge.parsing.unreadable import Unreadable

HEADER = "编号,系统,现象,处理"


def line(n):
    return f"INC{n:06},系统{n % 7},磁盘 {n} 满了,清理第 {n} 号日志"


def table(rows, encoding="utf-8"):
    return "\n".join([HEADER, "", *map(line, range(2, rows + 2))]).encode(encoding)


@pytest.fixture
def base(db, settings, tmp_path, monkeypatch):
    settings.MEDIA_ROOT = tmp_path / "files"
    monkeypatch.setattr(longtable, "LONG", 1000)
    monkeypatch.setattr(longtable, "ROWS", 50)
    return KnowledgeBase.objects.create(slug="ops", name="Ops")


def put(base, content):
    file = ContentFile(content)
    added = uploading.add(base, file=file, name="t.csv", external_id="t", approved=True)
    tasks.process(added.revision.pk)
    added.revision.refresh_from_db()
    return added.revision


def test_all_rows_are_found_at_their_place(base):
    revision = put(base, table(230))
    assert (revision.status, revision.error) == (Status.READY, "")
    found = retrieval.search("INC000222 磁盘", [base]).passages[0]
    assert line(222).split(",")[2] in found.text and HEADER.split(",")[3] in found.text
    first, last = found.regions[0]["rows"]
    # The header is row 0 here and row 1 in the locator.
    assert first <= 221 <= last and found.locator == f"A{first + 1}:D{last + 1}"
    positions = list(Chunk.objects.order_by("position").values_list("position", flat=True))
    assert positions == list(range(len(positions)))
    assert indexing.drift() == 0 and indexing.recount(base) == 0
    # What is kept of it does not grow with the file; its cited rows are shown from the file.
    assert len(revision.parsed["blocks"][0]["rows"]) == 51
    shown = pages.html(revision, 1, row=221)
    assert "INC000222" in shown and "编号" in shown


def test_it_is_replaced_in_one_step_and_counts_stay_true(base):
    put(base, table(120))
    other = uploading.add_text(base, text="# 重启\n\n步骤", title="b", approved=True)
    tasks.process(other.revision.pk)
    put(base, table(60).replace("磁盘".encode(), "内存".encode()))
    assert not retrieval.search("磁盘", [base]).passages
    assert "内存" in retrieval.search("内存 INC000010", [base]).passages[0].text
    assert indexing.drift() == 0 and indexing.recount(base) == 0
    assert Lexicon.objects.get().chunks == Chunk.objects.count()


def test_what_was_disabled_stays_so(base):
    put(base, table(60))
    chunk = Chunk.objects.order_by("position")[1]
    curating.set_enabled(Chunk.objects.filter(pk=chunk.pk), False, None)
    put(base, table(61))
    assert Chunk.objects.get(enabled=False).text == chunk.text
    assert indexing.recount(base) == 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "t.csv"
    path.write_bytes(table(120, encoding))
    parts = list(longtable.parts(path))
    assert parts[0].blocks[0].rows[0] == HEADER.split(",")
    assert sum(len(part.blocks[0].rows) - 1 for part in parts) == 120


@pytest.mark.parametrize("content", [b"", b"\n\n", b'a,b\n"' + b"x" * 200_000])
def test_what_is_no_table_is_refused(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(Unreadable):
        list(longtable.parts(path))


def test_memory_does_not_grow_with_the_file(tmp_path):
    def most(rows):
        path = tmp_path / f"{rows}.csv"
        path.write_bytes(table(rows))
        tracemalloc.start()
        for _part in longtable.parts(path):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(100)
    assert most(20_000) < 1.5 * most(5_000)

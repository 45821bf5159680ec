"""The import that `bench_import` measures, small: pages and a long table, and what it reports."""

import io
import os

import pytest
from django.core.management import call_command

from evaluation import import_benchmark as bench
from knowledge import indexing, retrieval, tasks
from knowledge.models import KnowledgeBase, Revision, Status
from knowledge.parsing import longtable


@pytest.mark.django_db
def test_pages_and_rows_come_in_and_are_found(settings, tmp_path, monkeypatch):
    settings.MEDIA_ROOT = tmp_path / "files"
    monkeypatch.setattr(longtable, "LONG", 1000)
    folder = tmp_path / "imported"
    bench.write_pages(folder, 60)
    bench.write_rows(folder / "tickets.csv", 120)
    call_command("ingest", folder, knowledge_base="bench", stdout=io.StringIO())
    for pk in Revision.objects.values_list("pk", flat=True):
        tasks.process(pk)  # most find that one before them did their work
    assert Revision.objects.filter(status=Status.READY).count() == 61
    base = KnowledgeBase.objects.get()
    assert indexing.drift() == 0 and indexing.recount(base) == 0
    assert "INC0000119" in retrieval.search("INC0000119", [base]).passages[0].text


def test_memory_of_a_process_and_figures_of_its_answers():
    memory = bench.Memory(own=os.getsid(0))
    memory._sample()
    assert memory.most["own"] > 20
    told = bench.figures([0.1, 0.2, 0.3])
    assert (told["answers"], told["p50 ms"], told["most ms"]) == (3, 200, 300)

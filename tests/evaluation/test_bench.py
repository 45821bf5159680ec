import json
import re
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from evaluation import benchmark, recombined
from evaluation.synthetic import Space
from knowledge import lexical, vectors
from knowledge.models import EmbeddingIndex, KnowledgeBase
from tests.evaluation.test_evaluate import lines

pytestmark = pytest.mark.django_db(transaction=True)

SUBJECTS = ("数据库备份", "磁盘空间", "证书续期", "nginx 重启", "Kafka 分区")


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"


@pytest.fixture
def folder(tmp_path):
    corpus = [
        {"id": f"{subject}{n}", "title": subject, "text": f"{subject}第 {n} 步。请检查 ORA-{n}。"}
        for subject in SUBJECTS
        for n in range(8)
    ]
    questions = [
        {"id": s, "question": f"{s}怎么做", "gold": [], "answers": [], "answerable": False}
        for s in SUBJECTS
    ]
    about = {"corpus": ["corpus.jsonl"], "questions": "questions.jsonl"}
    (tmp_path / "set.json").write_text(json.dumps(about), "utf-8")
    (tmp_path / "corpus.jsonl").write_text(lines(corpus), "utf-8")
    (tmp_path / "questions.jsonl").write_text(lines(questions), "utf-8")
    return tmp_path


def bench(*words):
    out = StringIO()
    call_command("bench", *words, "--dimensions", "16", "--pages", "4", stdout=out, stderr=out)
    return out.getvalue()


def test_everything_is_measured_and_nothing_left(folder):
    said = bench(str(folder), "--sizes", "100", "200")
    assert "100 chunks" in said and "200 chunks" in said and "ratio" in said
    share = re.search(r"reading's share of ingest ([\d.]+)", said)
    assert share and 0 < float(share[1]) < 1
    rows = [line.split(" | ") for line in said.splitlines() if line.startswith("| both")]
    assert [row[1] for row in rows] == ["–", "1 %", "–", "1 %", "–", "1 %"]  # and the growth
    # So few are looked at one by one: nothing can be missed.
    assert rows[0][-1] == "1.000 |"
    assert not KnowledgeBase.objects.exists() and not EmbeddingIndex.objects.exists()


def test_without_question_sets_the_demo_documents_do(monkeypatch):
    monkeypatch.delenv("OPSDESK_DATA", raising=False)
    assert "the demo documents" in bench("--sizes", "60", "--questions", "3")


def test_one_document_cannot_be_recombined(folder):
    (folder / "corpus.jsonl").write_text(lines([{"id": "a", "title": "", "text": "一。"}]), "utf-8")
    with pytest.raises(CommandError):
        bench(str(folder))
    assert not KnowledgeBase.objects.exists()


@pytest.mark.parametrize(
    "other", ["第 2 步：重启 nginx。\n\n- `df -h`", "磁盘", "ORA-01555 快照过旧"]
)
def test_terms_of_two_pieces_are_those_of_their_text(other):
    piece = "磁盘满了先清理日志，再看 ORA-01555。"
    whole = lexical.bag(f"{piece}\n{other}")
    both = recombined.together(lexical.bag(piece), lexical.bag(other))
    assert both.lengths == whole.lengths
    for one, other_one in zip(both[:3], whole[:3], strict=True):
        assert np.array_equal(one, other_one)


def test_a_look_at_every_vector_is_refused(folder, monkeypatch):
    """The planner rightly does so with 60; above 20,000 it must not."""
    monkeypatch.setattr(vectors, "GRAPH_FROM", 50)
    with pytest.raises(CommandError, match="every vector"):
        bench(str(folder), "--sizes", "60")


def test_vectors_are_the_same_each_time_and_lie_in_heaps():
    space, pairs = Space(50, 64, 7), [(n % 50, (n + 1) % 50) for n in range(200)]
    made = space.chunks(pairs, 0)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert np.array_equal(space.chunks(pairs[100:], 100), made[100:])
    near = made @ made.T
    same = near[np.arange(150), np.arange(150) + 50]  # of the same two documents
    assert same.mean() > near.mean() + 0.2
    asked = space.questions([pairs[3]], [3])
    assert (asked @ made.T).argmax() == 3


def test_more_than_so_many_vectors_are_looked_at_by_their_graph(monkeypatch):
    """The plan of the product's own statement, at a number where the planner has a choice."""
    monkeypatch.setattr(vectors, "GRAPH_FROM", 2_000)
    corpus = recombined.Corpus([recombined.DemoTexts()], 2_000, 16)
    with recombined.temporary_base() as base:
        recombined.grow(base, corpus, 2_000)
        corpus.ask(base, [recombined.DemoTexts()], 1)
        with recombined.index(base, corpus, 2_000), connection.cursor() as cursor:
            # So few pages fit into memory that a scan seems cheap; with 20,000 it does not.
            cursor.execute("SET seq_page_cost = 10")
            try:
                scans = benchmark.plans(base, corpus.questions[0])
            finally:
                cursor.execute("RESET seq_page_cost")
    assert any("embedding_hnsw" in scan for scan in scans)
    assert not any(map(benchmark.is_full, scans))

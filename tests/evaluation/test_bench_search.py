import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from knowledge.models import KnowledgeBase
from tests.evaluation.test_evaluate import lines

pytestmark = pytest.mark.django_db(transaction=True)

SUBJECTS = ("数据库备份", "磁盘空间", "证书续期", "nginx 重启", "Kafka 分区")


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


def test_storage_is_measured_and_leaves_nothing(folder):
    file, out = folder / "figures.json", StringIO()
    options = ["--chunks", "200", "--candidates", "20", "100000", "--postings", "--json", str(file)]
    call_command("bench_search", str(folder), *options, stdout=out)
    figures = json.loads(file.read_text("utf-8"))
    assert (figures["chunks"], figures["questions"]) == (200, 5)
    assert figures["vectors MB"] > 0 and figures["writing, chunks/s"] > 0
    assert 0 < figures["exact"]["p50 ms"] <= figures["exact"]["p95 ms"]
    # Postings hold the same weights; enough candidates are all that share a word.
    assert figures["postings"]["recall@1"] == figures["postings"]["recall@10"] == 1
    assert figures["100000 candidates"]["recall@10"] == 1
    assert 0 <= figures["20 candidates"]["recall@10"] <= 1
    assert "postings" in out.getvalue()
    assert not KnowledgeBase.objects.exists()


def test_one_document_cannot_be_recombined(folder):
    (folder / "corpus.jsonl").write_text(lines([{"id": "a", "title": "", "text": "一。"}]), "utf-8")
    with pytest.raises(CommandError):
        call_command("bench_search", str(folder))
    assert not KnowledgeBase.objects.exists()

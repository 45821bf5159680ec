import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from evaluation.management.commands.evaluate import spread
from evaluation.question_sets import Question, QuestionSet, judge
from knowledge import ranking
from knowledge.models import Document, KnowledgeBase

pytestmark = pytest.mark.django_db(transaction=True)

CORPUS = [
    {
        "id": "a",
        "title": "重启服务",
        "text": "# 重启\n\n执行 systemctl restart nginx。",
        "product": "x",
    },
    {"id": "b", "title": "备份", "text": "备份保存七天。\n\n每天凌晨执行。", "product": "x"},
    {"id": "c", "title": "别的产品", "text": "重启服务 重启服务", "product": "y"},
]
QUESTIONS = [
    {"id": "1", "question": "怎么重启 nginx", "gold": ["a"], "answers": [], "answerable": True},
    {"id": "2", "question": "备份保存几天", "gold": ["b"], "answers": ["七天"], "answerable": True},
    {"id": "3", "question": "Kafka 分区数", "gold": [], "answers": [], "answerable": False},
]


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path, settings):
    settings.MEDIA_ROOT = tmp_path / "files"
    made = tmp_path / "small_set"
    made.mkdir()
    about = {
        "about": "a test",
        "corpus": ["corpus.jsonl"],
        "where": {"product": "x"},
        "questions": "questions.jsonl",
    }
    (made / "set.json").write_text(json.dumps(about), "utf-8")
    (made / "corpus.jsonl").write_text(lines(CORPUS), "utf-8")
    (made / "questions.jsonl").write_text(lines(QUESTIONS), "utf-8")
    return made


def evaluate(folder, *options):
    file = folder.parent / "figures.json"
    call_command("evaluate", str(folder), "--json", str(file), *options, stdout=StringIO())
    return json.loads(file.read_text("utf-8"))


def test_a_set_is_indexed_and_measured(folder):
    figures = evaluate(folder)
    assert list(figures) == [
        "hit@1", "hit@5", "hit@10", "recall@5", "mrr@10", "auroc", "answered", "precision",
        "answerable", "found", "offered", "among", "ingest_chunks_per_s",
        "search_ms", "documents", "chunks", "questions",
    ]  # fmt: skip
    assert figures["hit@1"] == figures["recall@5"] == figures["mrr@10"] == figures["auroc"] == 1.0
    assert (figures["documents"], figures["chunks"], figures["questions"]) == (2, 2, 3)
    assert figures["ingest_chunks_per_s"] > 0
    assert 0 < figures["search_ms"]["p50"] <= figures["search_ms"]["p95"]
    assert figures["answered"] is figures["precision"] is None


def test_the_base_is_kept_between_runs_until_the_corpus_changes(folder):
    evaluate(folder)
    kept = KnowledgeBase.objects.get().slug
    assert evaluate(folder, "--limit", "1")["ingest_chunks_per_s"] is None
    assert KnowledgeBase.objects.get().slug == kept
    (folder / "corpus.jsonl").write_text(lines(CORPUS[1:]), "utf-8")
    assert evaluate(folder)["documents"] == 1
    assert KnowledgeBase.objects.get().slug != kept


def test_several_sets_are_one_table(folder, tmp_path):
    other = tmp_path / "other_set"
    other.mkdir()
    for file in folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    written, out = tmp_path / "figures.json", StringIO()
    call_command("evaluate", folder, other, "--json", written, stdout=out, stderr=StringIO())
    figures = json.loads(written.read_text("utf-8"))
    assert list(figures) == ["small_set", "other_set"]
    head, rule, *rows = out.getvalue().splitlines()
    assert {line.count("|") for line in (head, rule, *rows)} == {head.count("|")}
    assert rows[0].startswith("| small_set | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 |  |  |")
    assert rows[1].endswith("| 2 / 2 / 3 |")


def test_weights_are_fitted_on_sets(folder):
    out = StringIO()
    call_command("fit_ranking", folder, "--limit", "2", stdout=out)
    assert [line.split()[0] for line in out.getvalue().splitlines()[:6]] == list(ranking.FEATURES)
    assert "| small_set | 1.000 / 1.000 / 1.000 |" in out.getvalue()


def test_no_set_is_measured_when_one_is_none(folder, tmp_path):
    with pytest.raises(CommandError, match="nothing"):
        call_command("evaluate", folder, tmp_path / "nothing", stdout=StringIO())
    assert not KnowledgeBase.objects.exists()


def test_a_part_of_the_questions_is_from_all_over():
    assert spread(list("abcdef"), 3) == ["a", "c", "e"]
    assert spread(list("abc"), 2) == ["a", "b"]
    assert spread(list("abc"), None) == spread(list("abc"), 9) == list("abc")


def test_an_interrupted_indexing_goes_on(folder):
    evaluate(folder)
    Document.objects.filter(external_id="a").delete()
    assert evaluate(folder)["documents"] == 2


def test_only_a_question_set_is_taken(tmp_path):
    with pytest.raises(CommandError):
        call_command("evaluate", str(tmp_path))


def test_spans_are_told_from_whole_answers(folder):
    assert QuestionSet(folder).exact_spans
    rows = [{**QUESTIONS[1], "answers": ["一大段说明" * 30]}]
    (folder / "questions.jsonl").write_text(lines(rows), "utf-8")
    assert not QuestionSet(folder).exact_spans


ANSWERABLE = Question("q", "?", frozenset({"a"}), ("七 天",), True)
NOT_ANSWERABLE = Question("q", "?", frozenset(), (), False)


@pytest.mark.parametrize(
    ("question", "outcome", "text", "cited", "spans", "correct"),
    [
        (ANSWERABLE, "answered", "保存**七天** [1]。", ["a"], True, True),
        (ANSWERABLE, "answered", "保存很久。", ["a"], True, False),
        (ANSWERABLE, "answered", "保存很久。", ["a"], False, True),
        (ANSWERABLE, "answered", "保存七天。", ["b"], True, False),
        (ANSWERABLE, "handoff", "", [], True, False),
        (NOT_ANSWERABLE, "answered", "随便", ["a"], True, False),
    ],
)
def test_when_an_answer_is_correct(question, outcome, text, cited, spans, correct):
    reply = judge(question, outcome, text, cited, spans)
    assert reply.correct is correct
    assert reply.answered is (outcome == "answered")


@pytest.mark.parametrize(
    ("question", "cited", "offered", "among"),
    [
        (ANSWERABLE, ["b", "a"], True, True),
        (ANSWERABLE, ["b"], True, False),
        (ANSWERABLE, [], False, False),  # asked for a detail
        (NOT_ANSWERABLE, ["a"], True, False),
    ],
)
def test_what_asks_back_with_sources_offers_a_choice(question, cited, offered, among):
    reply = judge(question, "clarifying", "哪一个？", cited, True)
    assert (reply.offered, reply.among) == (offered, among)
    assert not (reply.answered or reply.correct)

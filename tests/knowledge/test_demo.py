import re
import unicodedata
from pathlib import Path

import pytest

from knowledge import demo, indexing, parsing, retrieval
from knowledge.chunking import chunk
from knowledge.models import Chunk, Document, KnowledgeBase, Status

QUESTIONS = demo.questions()
ANSWERABLE = [question for question in QUESTIONS if question["answerable"]]


@pytest.fixture(scope="module")
def parsed():
    return {
        external_id: parsing.parse(Path(demo.HERE) / "files" / path, name)
        for path, name, external_id in demo.FILES
    }


def squeezed(text):
    """Without what a parser may put otherwise: spaces and the width of characters."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text))


def test_the_documents_hold_what_was_asked_for(parsed):
    manual = parsed["demo/database-manual"]
    assert manual.pages == 10
    assert {asset.kind for asset in manual.assets} == {"picture", "table"}
    assert any("图 5-1" in asset.caption for asset in manual.assets if asset.kind == "picture")
    assert any(block.kind == "formula" for block in parsed["demo/release-process"].blocks)
    faq = chunk(parsed["demo/faq"])
    assert len(faq) == 25
    assert {draft.kind for draft in faq} == {"qa"}
    assert faq[0].locator == "常见问题!A2:E2"


@pytest.mark.parametrize("question", ANSWERABLE, ids=lambda question: question["id"])
def test_the_answers_stand_where_the_questions_say(parsed, question):
    drafts = chunk(parsed[question["gold"][0]])
    for answer in question["answers"]:
        holding = [d for d in drafts if squeezed(answer) in squeezed(d.question + d.text)]
        assert holding
        assert question["page"] in {draft.page for draft in holding}


def test_the_questions_are_of_both_kinds():
    assert len({question["id"] for question in QUESTIONS}) == len(QUESTIONS)
    assert len(ANSWERABLE) >= 20
    assert len(QUESTIONS) - len(ANSWERABLE) >= 6
    known = {external_id for *_, external_id in demo.FILES}
    assert {gold for question in ANSWERABLE for gold in question["gold"]} == known


@pytest.mark.django_db
class TestLoading:
    @pytest.fixture(autouse=True)
    def files(self, settings, tmp_path):
        settings.MEDIA_ROOT = tmp_path

    def test_makes_a_base_that_visitors_may_ask(self):
        demo.load()
        base = KnowledgeBase.objects.get()
        assert base.audience == KnowledgeBase.Audience.VISITORS
        assert {d.external_id for d in base.documents.all()} == {f[2] for f in demo.FILES}
        assert not Document.objects.filter(approved_at=None).exists()

    def test_once(self):
        demo.load()
        Document.objects.get(external_id="demo/faq").delete()
        demo.load()
        assert Document.objects.count() == len(demo.FILES) - 1

    def test_its_questions_find_their_places(self, parsed):
        """By words alone; "灰度" for 金丝雀 and the like want an encoder."""
        demo.load()
        for document in Document.objects.all():
            indexing.put(document.latest, parsed[document.external_id])
        assert set(Document.objects.values_list("latest__status", flat=True)) == {Status.READY}
        assert Chunk.objects.filter(kind=Chunk.Kind.QA).count() == 25
        base = KnowledgeBase.objects.get()
        found = 0
        for question in ANSWERABLE:
            passages = retrieval.search(question["question"], [base]).passages[:3]
            places = [(passage.external_id, passage.page) for passage in passages]
            found += (question["gold"][0], question["page"]) in places
        assert found >= 0.8 * len(ANSWERABLE)

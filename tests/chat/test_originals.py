import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.utils import timezone

from chat import presenting, transcript
from chat.exports.answer import Answer
from chat.models import Citation
from knowledge.models import Document, Originals, Revision

WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def cite(message, base, n, name, media_type, **fields):
    document = Document.objects.create(
        knowledge_base=base, title=f"手册{n}", approved_at=timezone.now(), **fields
    )
    revision = Revision(document=document, name=name, media_type=media_type, size=3, sha256="0")
    revision.file.save(name, ContentFile(b"abc"))
    Document.objects.filter(pk=document.pk).update(current=revision)
    return Citation.objects.create(
        message=message, n=n, title=document.title, document=document, revision=revision
    )


@pytest.fixture
def answered(conversation):
    return transcript.append(conversation.pk, "assistant", "见 [1] [2] [3]")


def shown(message):
    [found] = presenting.shown(type(message).objects.filter(pk=message.pk))
    return presenting.message_json(found)["originals"]


def test_finished_pdf_and_word_are_offered_once(answered, base):
    first = cite(answered, base, 1, "手册.pdf", "application/pdf")
    Citation.objects.create(message=answered, n=4, title="x", revision=first.revision)
    cite(answered, base, 2, "表.xlsx", "application/vnd.ms-excel")
    cite(answered, base, 3, "手册.docx", WORD)
    offered = shown(answered)
    assert [(o["title"], o["kind"], o["size"]) for o in offered] == [
        ("手册1", "pdf", 3), ("手册3", "docx", 3),
    ]  # fmt: skip
    assert offered[0]["url"] == f"/revisions/{first.revision_id}/original"
    sources = Answer.of(answered, "https://help.example.com").sources
    assert [source.original for source in sources if source.n == 1] == ["手册.pdf (3\xa0字节)"]
    assert sources[0].url == "https://help.example.com" + offered[0]["url"]
    assert sources[1].original == ""


def test_staff_say_whether_files_are_handed_out(client, answered, base):
    base.audience = "visitors"
    base.originals = Originals.KEPT
    base.save()
    kept = cite(answered, base, 1, "内部.pdf", "application/pdf")
    given = cite(answered, base, 2, "公开.pdf", "application/pdf", originals=Originals.GIVEN)
    assert [o["title"] for o in shown(answered)] == ["手册2"]
    address = f"/revisions/{kept.revision_id}/"
    assert client.get(f"{address}original").status_code == 404
    assert client.get(address).json()["original"] is None
    assert client.get(f"/revisions/{given.revision_id}/original").status_code == 200
    client.force_login(User.objects.create(username="c", is_staff=True, is_superuser=True))
    assert client.get(f"{address}original").status_code == 200


def test_what_answers_no_more_is_not_offered(answered, base):
    cite(answered, base, 1, "旧.pdf", "application/pdf", retired_at=timezone.now())
    Citation.objects.create(message=answered, n=2, title="gone")
    assert shown(answered) == []

import re

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.signing import Signer

from chat import transcript, views, visitors
from chat.models import Conversation
from chat.views import examples
from knowledge.models import Chunk, Document, KnowledgeBase, Revision
from knowledge.parsing.document import Block
from tests.chat.conftest import permission, put


def visitor(client):
    client.get("/")
    return visitors.visitor({name: c.value for name, c in client.cookies.items()})


def test_the_page_makes_a_visitor_once(client, db):
    first = visitor(client)
    assert re.fullmatch(r"[0-9a-f]{32}", first)
    cookie = client.cookies[visitors.COOKIE]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert visitor(client) == first


def test_a_forged_visitor_is_nobody(client, db):
    victim = "a" * 32
    client.cookies[visitors.COOKIE] = victim + ":" + Signer(salt="other").sign(victim)
    assert visitors.visitor({visitors.COOKIE: client.cookies[visitors.COOKIE].value}) == ""
    assert visitor(client) != victim


def test_cookie_is_secure_behind_https(client, db, settings):
    settings.HTTPS = True
    client.get("/")
    assert client.cookies[visitors.COOKIE]["secure"] is True


def test_the_page_says_when_nothing_is_known(client, db):
    assert "没有对您开放的知识库" in client.get("/").content.decode()
    KnowledgeBase.objects.create(slug="a", name="空库", audience="visitors")
    page = client.get("/").content.decode()
    assert "这里还没有知识" in page
    assert "空库" in page


def test_the_page_says_that_documents_are_being_read(client, db):
    base = KnowledgeBase.objects.create(slug="a", name="新库", audience="visitors")
    document = Document.objects.create(knowledge_base=base, title="手册")
    Revision.objects.create(document=document, name="手册.md", size=1, sha256="0" * 64)
    assert "文档正在解析" in client.get("/").content.decode()


def test_the_page_hides_what_the_visitor_may_not_read(client, base):
    base.audience = KnowledgeBase.Audience.SIGNED_IN
    base.save()
    assert base.name not in client.get("/").content.decode()
    client.force_login(User.objects.create(username="u"))
    assert base.name in client.get("/").content.decode()


def test_the_page_has_no_inline_code(client, base):
    page = client.get("/").content.decode()
    for script in re.findall(r"<script[^>]*>", page):
        assert "src=" in script or 'type="application/json"' in script
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)


def test_the_page_speaks_english(client, base):
    page = client.get("/", headers={"accept-language": "en"}).content.decode()
    assert '<html lang="en">' in page
    assert "Talk to a person" in page


def test_examples_are_short_questions_of_different_documents(base):
    faq = put(base, "常见问题", Block("paragraph", "甲"))
    other = put(base, "另一份", Block("paragraph", "乙"))
    hidden = put(base, "未批准", Block("paragraph", "丙"))
    hidden.approved_at = None
    hidden.save()
    position = 100
    for document, question in [
        *((faq, f"第 {n} 个问题?") for n in range(6)), (faq, "长" * 41), (other, "别的问题?"),
        (hidden, "不可见?"),
    ]:  # fmt: skip
        position += 1
        Chunk.objects.create(
            knowledge_base=base,
            document=document,
            revision=document.current,
            kind="qa",
            position=position,
            question=question,
            text="答",
        )
    found = examples([base])
    assert len(found) == 4
    assert "别的问题?" in found[:2]
    assert not {"不可见?", "长" * 41} & set(found)
    assert examples([]) == []


@pytest.fixture
def answered(conversation):
    transcript.append(conversation.pk, "customer", "磁盘满了怎么办?")
    return transcript.append(conversation.pk, "assistant", "清理日志 [1]")


@pytest.mark.parametrize(("suffix", "magic"), [("pdf", b"%PDF-"), ("docx", b"PK\x03\x04")])
def test_an_answer_is_exported_to_its_visitor_and_to_staff(client, answered, suffix, magic):
    address = f"/messages/{answered.pk}/export.{suffix}"
    assert client.get(address).status_code == 404
    mine = visitor(client)
    assert client.get(address).status_code == 404
    Conversation.objects.update(visitor=mine)
    response = client.get(address)
    assert response.content.startswith(magic)
    assert response["Content-Disposition"].startswith("attachment; filename*=utf-8''")
    client.cookies.clear()
    staff = User.objects.create(username="s", is_staff=True)
    client.force_login(staff)
    assert client.get(address).status_code == 404
    staff.user_permissions.add(permission("chat.view_conversation"))
    assert client.get(address).status_code == 200


def test_exports_are_limited(client, answered, monkeypatch):
    monkeypatch.setattr(views, "EXPORTS_A_MINUTE", 1)
    Conversation.objects.update(visitor=visitor(client))
    address = f"/messages/{answered.pk}/export.docx"
    assert client.get(address).status_code == 200
    refused = client.get(address)
    assert (refused.status_code, refused.content.decode()) == (
        429,
        "导出过于频繁，请一分钟后再试。",
    )


def test_only_public_answers_are_exported(client, answered):
    Conversation.objects.update(visitor=visitor(client))
    question = answered.conversation.messages.get(seq=1)
    assert client.get(f"/messages/{question.pk}/export.pdf").status_code == 404
    answered.public = False
    answered.save()
    assert client.get(f"/messages/{answered.pk}/export.pdf").status_code == 404


def test_a_visitor_does_not_see_what_was_said_signed_in_at_the_same_browser(db):
    user = User.objects.create(username="u")
    nobody = AnonymousUser()
    signed_in = Conversation.objects.create(visitor="v" * 32, user=user)
    anonymous = Conversation.objects.create(visitor="v" * 32)
    assert list(visitors.conversations(nobody, "v" * 32)) == [anonymous]
    assert set(visitors.conversations(user, "v" * 32)) == {signed_in, anonymous}
    assert not visitors.conversations(nobody, "").exists()

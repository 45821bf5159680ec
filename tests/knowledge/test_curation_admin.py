"""The document page and the lists through HTTP: what they tell, and whom they refuse."""

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from knowledge import curating, indexing, leaves
from knowledge.models import Chunk, ChunkEdit, Document, KnowledgeBase, Role
from knowledge.parsing.document import Block, ParsedDocument
from tests.knowledge import documents
from tests.knowledge.test_curating import passages, put, sections

pytestmark = pytest.mark.django_db
LIST = reverse("admin:knowledge_document_changelist")
CHUNKS = reverse("admin:knowledge_chunk_changelist")


@pytest.fixture
def document():
    return put(sections(重启="先备份", 备份="每天两点备份", 日志="看 journalctl"))


def page_of(document):
    return reverse("admin:knowledge_document_change", args=[document.pk])


def url(name, *args):
    return reverse(f"admin:knowledge_document_{name}", args=args)


def member(client, kind, base):
    """Staff without any permission of Django's, with a role on `base`."""
    user = User.objects.create(username=kind, is_staff=True)
    group = Group.objects.create(name=kind)
    user.groups.add(group)
    Role.objects.create(knowledge_base=base, group=group, kind=kind)
    client.force_login(user)
    return user


def endpoints(document):
    chunk = passages(document)[0]
    change = curating.history(document).first()
    return [
        (url("chunk_edit", chunk.pk), {"text": "甲"}),
        (url("chunk_merge"), {"chunk": [row.pk for row in passages(document)[:2]]}),
        (url("chunk_split", chunk.pk), {"text": ["甲", "乙"]}),
        (url("chunk_enabled", chunk.pk), {"enabled": "0"}),
        (url("undo", change.pk), {}),
        (url("redo", change.pk), {}),
        (url("dismiss", change.pk), {}),
    ]


def test_who_may_only_see_changes_nothing(client, document):
    curating.edit(passages(document)[2].pk, text="改过", user=None)
    user = member(client, Role.Kind.VIEWER, document.knowledge_base)
    before = list(Chunk.objects.order_by("pk").values())
    assert client.get(url("leaf", document.pk, 1)).status_code == 200
    page = client.get(page_of(document)).content.decode()
    assert "chunk-form" not in page and 'data-do="edit"' not in page
    assert "data-edit=" not in client.get(url("edits", document.pk)).content.decode()
    for address, data in endpoints(document):
        assert client.post(address, data).status_code == 403, address
        assert client.get(address).status_code == 405, address
    act = {"action": "disable", "_selected_action": [row.pk for row in passages(document)]}
    client.post(CHUNKS, act)  # is not offered
    assert list(Chunk.objects.order_by("pk").values()) == before
    user.groups.all().delete()
    for address in (url("leaf", document.pk, 1), url("edits", document.pk)):
        assert client.get(address).status_code == 403


def test_a_curator_of_the_base_does_all_of_it(client, document):
    user = member(client, Role.Kind.CURATOR, document.knowledge_base)
    curating.edit(passages(document)[2].pk, text="改过", user=None)
    statuses = [client.post(*one).status_code for one in endpoints(document)]
    assert statuses == [200] * 7
    other = documents.put(documents.base("other"), "别处", title="别处")
    chunk = other.chunks.get()
    assert client.post(url("chunk_edit", chunk.pk), {"text": "甲"}).status_code == 403
    assert ChunkEdit.objects.filter(user=user).count() == 4


def test_errors_name_their_field_and_conflicts_their_author(admin_client, admin_user, document):
    chunk, neighbour, _ = passages(document)
    refused = admin_client.post(url("chunk_edit", chunk.pk), {"text": " "})
    assert refused.status_code == 400 and list(refused.json()["errors"]) == ["text"]
    seen = curating.version(chunk)
    saved = admin_client.post(url("chunk_edit", chunk.pk), {"text": "甲", "seen": seen})
    assert saved.json()["edit"] == ChunkEdit.objects.get().pk
    late = admin_client.post(url("chunk_edit", chunk.pk), {"text": "乙", "seen": seen})
    assert late.status_code == 409 and "admin" in late.json()["errors"][""][0]
    admin_client.post(url("chunk_merge"), {"chunk": chunk.pk, "beside": "next"})
    gone = admin_client.post(url("chunk_edit", neighbour.pk), {"text": "乙"})
    assert gone.status_code == 409 and "admin" in gone.json()["errors"][""][0]
    assert admin_client.post(url("chunk_edit", 10**9 - 1), {"text": "乙"}).status_code == 409
    assert admin_client.post(url("undo", 10**9 - 1)).status_code == 404


def test_the_plain_form_of_a_passage_goes_the_same_way(admin_client, admin_user, document):
    chunk = passages(document)[0]
    address = reverse("admin:knowledge_chunk_change", args=[chunk.pk])
    seen = curating.version(chunk)
    data = {"text": "甲\r\n乙", "questions": "问一\r\n\r\n问二", "enabled": "on", "seen": seen}
    posted = admin_client.post(address, data)
    assert posted.status_code == 302, posted.context["errors"]
    chunk.refresh_from_db()
    assert (chunk.text, chunk.questions, chunk.edited) == ("甲\n乙", ["问一", "问二"], True)
    assert ChunkEdit.objects.get().user == admin_user
    stale = admin_client.post(address, {**data, "text": "丙"})
    assert "admin" in str(stale.context["errors"]) and "丙" in stale.content.decode()
    long = admin_client.post(address, {**data, "text": "字" * 2001, "seen": ""})
    assert long.status_code == 200 and long.context["adminform"].form.errors["text"]
    chunk.refresh_from_db()
    assert chunk.text == "甲\n乙"


@pytest.mark.parametrize("number", [1, 500])
def test_the_page_asks_the_database_as_often_for_one_passage_as_for_many(admin_client, number):
    blocks = [
        Block("paragraph", f"第{n}条 " + "说明" * 300, page=n // 5 + 1) for n in range(number)
    ]
    document = put(ParsedDocument(blocks=blocks, pages=number // 5 + 1))
    assert document.chunks.count() == number
    curating.set_enabled(document.chunks.all(), False, None)
    admin_client.get(page_of(document))
    with CaptureQueriesContext(
        connection,
    ) as asked:
        page = admin_client.get(page_of(document))
    assert len(asked) <= 22, [one["sql"][:100] for one in asked]
    assert page.content.count(b'id="chunk-') <= 5 + 1
    with CaptureQueriesContext(connection) as asked:
        admin_client.get(url("edits", document.pk))
    assert len(asked) <= 10


def test_a_long_sheet_is_shown_part_by_part(admin_client):
    rows = [["问题", "答案"]] + [[f"问题{n}", f"答案{n}"] for n in range(130)]
    document = put(ParsedDocument(blocks=[Block("table", rows=rows, header_rows=1)]))
    first = leaves.leaf(document, 1)
    assert (len(first.held), first.next, first.of) == (leaves.AT_ONCE, leaves.AT_ONCE, 1)
    last = leaves.leaf(document, 1, first.next * 2)
    assert len(last.held) == 130 - 2 * leaves.AT_ONCE and last.next is None and not last.left
    chunk = passages(document)[120]
    page = admin_client.get(f"{page_of(document)}?chunk={chunk.pk}").content.decode()
    assert f'id="chunk-{chunk.pk}"' in page


def test_what_was_read_and_is_in_no_passage_is_told(document):
    parsed = ParsedDocument(
        blocks=[
            Block("paragraph", "内部资料", page=1, hidden=True, box=(0, 0, 1, 0.1)),
            Block("heading", "重启", level=1, page=1),
            Block("paragraph", "先备份", page=1),
        ],
        pages=1,
    )
    put(parsed, document)
    (left,) = leaves.leaf(document, 1).left
    assert (left.index, left.text, left.box) == (0, "内部资料", [0, 0, 1, 0.1])


def test_a_document_that_was_not_read_yet_has_an_empty_page(admin_client):
    base = documents.base()
    document = Document.objects.create(knowledge_base=base, title="新")
    documents.revision(document)
    assert 'class="empty"' in admin_client.get(page_of(document)).content.decode()
    assert admin_client.get(url("leaf", document.pk, 1)).status_code == 404


def test_the_form_sets_scope_and_only_that(admin_client, document):
    version = KnowledgeBase.objects.get().version
    Document.objects.filter(pk=document.pk).update(external_id="a")
    form = {"title": "手册", "external_id": "a", "product": "网关", "tags": "核心, 生产"}
    form |= {"expires_on": "2030-01-02", "url": "docs.example.com/a"}
    assert admin_client.post(page_of(document), form).status_code == 302
    document.refresh_from_db()
    assert (document.product, document.tags) == ("网关", ["核心", "生产"])
    assert document.url == "https://docs.example.com/a" and document.current
    assert KnowledgeBase.objects.get().version > version
    other = documents.put(document.knowledge_base, "乙", title="乙")
    taken = admin_client.post(page_of(other), {**form, "title": "乙"})
    assert taken.status_code == 200 and taken.context["errors"]


# --- Lists --------------------------------------------------------------------------
def titles(client, query):
    return sorted(row.title for row in client.get(f"{LIST}?{query}").context["cl"].queryset)


def test_documents_are_filtered(admin_client):
    base, now = documents.base(), timezone.now()
    today = timezone.localdate()
    documents.put(base, "甲", title="甲", product="网关", tags=["生产", "核心"])
    documents.put(base, "乙", title="乙", expires_on=today + timezone.timedelta(days=9))
    documents.put(base, "丙", title="丙", expires_on=today - timezone.timedelta(days=1))
    documents.put(base, "丁", title="丁", retired_at=now)
    documents.put(base, "戊", title="戊", origin=Document.Origin.FAQ)
    assert titles(admin_client, "") == sorted("甲乙丙丁")
    assert titles(admin_client, "origin__exact=faq") == ["戊"]
    assert titles(admin_client, "validity=expiring") == ["乙"]
    assert titles(admin_client, "validity=expired") == ["丙"]
    assert titles(admin_client, "validity=retired") == ["丁"]
    assert titles(admin_client, "product=网关") == ["甲"] == titles(admin_client, "tag=核心")


def test_many_documents_are_labelled_retired_and_restored(admin_client):
    base = documents.base()
    rows = [documents.put(base, text, title=text, tags=["旧", text]) for text in "甲乙"]
    chosen = [row.pk for row in rows]
    asked = admin_client.post(LIST, {"action": "label", "_selected_action": chosen})
    assert (asked.status_code == 200 and "甲 · 乙" in asked.content.decode()) or "乙 · 甲"
    data = {"action": "label", "_selected_action": chosen, "label": "1", "select_across": "0"}
    nothing = admin_client.post(LIST, data)
    assert nothing.status_code == 200 and nothing.context["form"].errors
    data |= {"set_product": "on", "product": "网关", "version": "不勾选不设置"}
    admin_client.post(LIST, data | {"add_tags": "新，旧", "remove_tags": "甲"})
    labelled = list(Document.objects.order_by("pk").values_list("product", "version", "tags"))
    assert labelled == [("网关", "", ["旧", "新"]), ("网关", "", ["旧", "乙", "新"])]
    for action, retired in (("retire", 2), ("restore", 0)):
        admin_client.post(LIST, {"action": action, "_selected_action": chosen})
        assert Document.objects.exclude(retired_at=None).count() == retired


def test_many_passages_are_switched_and_indexed_again(admin_client, admin_user, document):
    chosen = [row.pk for row in passages(document)]
    for action, enabled in (("disable", 0), ("enable", 3), ("reindex", 3)):
        admin_client.post(CHUNKS, {"action": action, "_selected_action": chosen})
        assert document.chunks.filter(enabled=True).count() == enabled
    assert list(ChunkEdit.objects.values_list("kind", "user")) == [
        ("enable", admin_user.pk),
        ("disable", admin_user.pk),
    ]
    assert indexing.drift() == 0
    for query in ("edited=yes", "edited=no", "edited=questions", "enabled__exact=1"):
        assert admin_client.get(f"{CHUNKS}?{query}").status_code == 200

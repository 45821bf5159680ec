"""Every page of the knowledge administration, for every kind of user and two bases."""

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from knowledge import permissions, tasks, uploading
from knowledge.models import (
    Chunk,
    ConfirmedPair,
    Document,
    Entry,
    Import,
    KnowledgeBase,
    Role,
    Similarity,
    Source,
    Term,
    TermSuggestion,
)
from knowledge.permissions import ByBase
from opsdesk.models import ApiToken, Outage

pytestmark = pytest.mark.django_db
PAGES = {
    page.model: page
    for page in admin.site._registry.values()
    if isinstance(page, ByBase) and page.model._meta.app_label == "knowledge"
}
CLOSED = {302, 403, 404}
STANDARD = {"changelist", "add", "change", "delete", "history", "autocomplete"}

SHEET = "问题,答案\n怎么重启,systemctl restart nginx\n".encode()
HARMLESS = {"chunk_preview"}  # shows what was sent, of no base


def filled(slug):
    """A base with a row of every kind."""
    base = KnowledgeBase.objects.create(slug=slug, name=slug, audience="groups")
    documents = []
    for text in ("# 重启\n\nsystemctl restart nginx", "# 重启 nginx\n\nsystemctl restart"):
        added = uploading.add(base, file=ContentFile(text.encode()), name="a.md", approved=True)
        tasks.process(added.revision.pk)
        documents.append(added.document)
    first, second = documents
    return {
        KnowledgeBase: base,
        Document: first,
        Chunk: first.chunks.get(),
        Term: Term.objects.create(knowledge_base=base, canonical="nginx"),
        Source: Source.objects.create(knowledge_base=base, kind="folder", name="Share"),
        Entry: Entry.objects.create(knowledge_base=base, question="?", answer="!"),
        Import: Import.objects.create(
            knowledge_base=base, kind="faq", name="a.csv", file=ContentFile(SHEET, "a.csv")
        ),
        Similarity: Similarity.objects.create(
            knowledge_base=base, first=first, second=second, passages=1, share=1
        ),
        ConfirmedPair: ConfirmedPair.objects.create(
            knowledge_base=base, question="?", key="?", document=first, origin="label"
        ),
        TermSuggestion: TermSuggestion.objects.create(
            knowledge_base=base, asked="a", written="b", count=3
        ),
    }


@pytest.fixture
def rows(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    return {name: filled(name) for name in "ab"}


@pytest.fixture
def users(rows):
    """A client of each kind; roles are on base a."""
    superuser = User.objects.create_superuser("superuser")
    editor = User.objects.create(username="editor", is_staff=True)
    ours = ContentType.objects.filter(app_label="knowledge")
    editor.user_permissions.set(Permission.objects.filter(content_type__in=ours))
    made = {"superuser": superuser, "editor": editor}
    for kind in ("curator", "viewer"):
        group = Group.objects.create(name=kind)
        made[kind] = User.objects.create(username=kind, is_staff=True)
        made[kind].groups.add(group)
        Role.objects.create(knowledge_base=rows["a"][KnowledgeBase], group=group, kind=kind)
    made["nobody"] = User.objects.create(username="nobody", is_staff=True)
    made["outsider"] = User.objects.create(username="outsider")  # in the group, but no staff
    made["outsider"].groups.add(Group.objects.get(name="curator"))
    return made


@pytest.fixture
def clients(users):
    clients = {name: Client() for name in (*users, "visitor")}
    for name, user in users.items():
        clients[name].force_login(user)
    return clients


SEES = {"superuser": 200, "editor": 200, "curator": 200, "viewer": 200, "nobody": 403}
WORKS = {**SEES, "viewer": 403}
OWNS = {**WORKS, "curator": 403}  # what takes Django's permission
ELSEWHERE = {"superuser": 200, "editor": 200, "curator": 302, "viewer": 302, "nobody": 403}
NOT_AT_ALL = dict.fromkeys(SEES, 403)
LOGIN = {"outsider": 302, "visitor": 302}


def own(page, name):
    """Whether the page, or what it shares with others, has a rule of its own."""
    return getattr(type(page), name) is not getattr(ByBase, name)


def expected(model, route, base):
    """The status of a GET by user."""
    page = PAGES[model]
    if route == "change" and model in (Similarity, ConfirmedPair, TermSuggestion):
        return None  # it leads to a page of its own
    owner_only = model is KnowledgeBase
    if route == "changelist":
        return SEES | LOGIN
    if route == "add":
        closed = own(page, "has_add_permission") and not owner_only
        return (NOT_AT_ALL if closed else OWNS if owner_only else WORKS) | LOGIN
    if route == "delete" and own(page, "has_delete_permission") and not owner_only:
        return None  # the page has rules of its own
    if base == "b":
        nobody_may = {"curator": 403, "viewer": 403} if route == "delete" and owner_only else {}
        viewer = {"viewer": 403} if route == "delete" else {}
        return ELSEWHERE | viewer | nobody_may | LOGIN
    if route == "delete":
        return (OWNS if owner_only else WORKS) | LOGIN
    return SEES | LOGIN


def test_who_gets_which_page(clients, rows):
    wrong = []
    for model in PAGES:
        for route in ("changelist", "add", "change", "delete", "history"):
            named = route in ("changelist", "add")  # of no base
            for base in "a" if named else "ab":
                url = reverse(
                    f"admin:knowledge_{model._meta.model_name}_{route}",
                    args=[] if named else [rows[base][model].pk],
                )
                for name, status in (expected(model, route, base) or {}).items():
                    got = clients[name].get(url).status_code
                    # Some pages of ours are as if there were no such row.
                    if got != status and (status == 200 or got not in CLOSED):
                        wrong.append((model.__name__, route, base, name, got, status))
    assert not wrong


def special():
    """The pages that are not Django's own: (model, name, names of its arguments)."""
    for model, page in PAGES.items():
        prefix = f"knowledge_{model._meta.model_name}_"
        for pattern in page.get_urls():
            route = (pattern.name or "").removeprefix(prefix)
            if pattern.name and route not in STANDARD | HARMLESS:
                yield model, pattern.name, tuple(pattern.pattern.converters)


def test_no_other_page_opens_to_strangers(clients, rows):
    """Nobody without a right on the base, nor a curator of another base, gets or posts anything."""

    def url(model, name, arguments, base):
        # The switch of a chunk is a page of its document's admin.
        row = rows[base][Chunk if "_chunk_" in name else model]
        keys = {"pk", "object_id", f"{model._meta.model_name}_id"}
        return reverse(f"admin:{name}", args=[row.pk if key in keys else 1 for key in arguments])

    wrong = []
    for page in special():
        asked = [("nobody", "a"), ("outsider", "a"), ("visitor", "a")]
        if page[-1]:
            asked += [("curator", "b"), ("viewer", "b")]
        for user, base in asked:
            for send in (clients[user].get, clients[user].post):
                status = send(url(*page, base)).status_code
                if status not in {302, 400, 403, 404, 405, 409}:
                    wrong.append((page[1], user, base, status))
        if (status := clients["superuser"].get(url(*page, "a")).status_code) >= 500:
            wrong.append((page[1], "superuser", "a", status))
    assert not wrong


def program(user):
    """A client that says who it is by a token."""
    token = ApiToken(user=user, name="t", scope=ApiToken.Scope.WRITE)
    key = token.generate()
    token.save()
    return Client(headers={"Authorization": f"Bearer {key}"})


def act(client, model, action, *chosen):
    url = reverse(f"admin:knowledge_{model._meta.model_name}_changelist")
    data = {"action": action, "_selected_action": [row.pk for row in chosen], "post": "yes"}
    return client.post(url, data).status_code


@pytest.mark.parametrize("action", ["retry", "approve", "delete_selected"])
def test_actions_touch_only_bases_one_may_change(clients, rows, action):
    a, b = rows["a"][Document], rows["b"][Document]
    also = Group.objects.get(name="curator")
    Role.objects.create(knowledge_base=rows["b"][KnowledgeBase], group=also, kind="viewer")
    for name, chosen in (("curator", [b]), ("curator", [a, b]), ("nobody", [a])):
        assert act(clients[name], Document, action, *chosen) == 403
    # Who may change nothing is not offered the action at all.
    act(clients["viewer"], Document, action, a)
    assert Document.objects.filter(pk__in=[a.pk, b.pk]).count() == 2
    assert act(clients["curator"], Document, action, a) == 302
    assert act(clients["editor"], Document, action, b) == 302


def test_a_list_that_can_be_edited_refuses_what_one_may_only_see(users, rows):
    page, chunk = PAGES[Chunk], rows["b"][Chunk]
    group = Group.objects.get(name="curator")
    Role.objects.create(knowledge_base=rows["b"][KnowledgeBase], group=group, kind="viewer")
    request = type("Request", (), {"user": users["curator"]})()
    with pytest.raises(permissions.PermissionDenied):
        ByBase.save_model(page, request, chunk, None, change=True)


def test_uploads_go_only_where_one_may_bring_in(clients, rows):
    upload = reverse("admin:knowledge_document_add")
    offered = clients["curator"].get(upload).context["form"].fields
    assert list(offered["knowledge_base"].queryset) == [rows["a"][KnowledgeBase]]
    assert "new_base" not in offered
    data = {"knowledge_base": rows["b"][KnowledgeBase].pk}
    page = clients["curator"].post(upload, data | {"files": SimpleUploadedFile("c.md", b"c")})
    assert page.context["form"].errors
    data = {"knowledge_base": rows["a"][KnowledgeBase].pk}
    page = clients["curator"].post(upload, data | {"files": SimpleUploadedFile("c.md", b"c")})
    assert page.status_code == 302
    assert Document.objects.filter(created_by__username="curator").count() == 1


def test_filters_and_forms_name_no_other_base(clients, rows):
    page = clients["viewer"].get(reverse("admin:knowledge_document_changelist"))
    listed = page.context["cl"]
    offered = {str(one["display"]) for spec in listed.filter_specs for one in spec.choices(listed)}
    assert "b" not in offered and listed.result_count == 2
    seen = clients["editor"].get(reverse("admin:knowledge_document_changelist")).context["cl"]
    offered = {str(one["display"]) for spec in seen.filter_specs for one in spec.choices(seen)}
    assert {"a", "b"} <= offered
    start = clients["viewer"].get(reverse("admin:index")).context["panels"]
    assert start[0]["rows"][-1]["value"] == 2


def test_originals_open_for_roles_even_before_approval(clients, rows):
    for base in "ab":
        Document.objects.filter(pk=rows[base][Document].pk).update(approved_at=None)
    urls = [reverse("revision", args=[rows[base][Document].latest_id]) for base in "ab"]
    for name in ("curator", "viewer"):
        assert [clients[name].get(url).status_code for url in urls] == [200, 404]
    for name in ("nobody", "outsider", "visitor"):
        assert [clients[name].get(url).status_code for url in urls] == [404, 404]
    assert clients["editor"].get(urls[1]).status_code == 200


@pytest.mark.parametrize(
    ("name", "upload", "search", "delete"),
    [
        ("superuser", (202, 202), (200, 200), (204, 204)),
        ("editor", (404, 404), (404, 404), (404, 404)),  # may do all, but not read these bases
        ("curator", (202, 404), (200, 404), (204, 404)),
        ("viewer", (403, 403), (200, 404), (403, 403)),
        ("nobody", (403, 403), (404, 404), (403, 403)),
        ("outsider", (403, 403), (404, 404), (403, 403)),
    ],
)
def test_the_api_honours_roles(users, rows, name, upload, search, delete):
    client = program(users[name])

    def post(url, base, **data):
        data["knowledge_base"] = base
        return client.post(reverse(url), data, content_type="application/json").status_code

    assert tuple(post("api-document-list", one, title="t", text=one) for one in "ab") == upload
    assert tuple(post("api-search", one, query="nginx") for one in "ab") == search
    urls = [reverse("api-document-detail", args=[rows[one][Document].pk]) for one in "ab"]
    assert tuple(client.delete(url).status_code for url in urls) == delete


def test_a_role_that_only_sees_shows_what_waits_for_approval(users, rows):
    Document.objects.update(approved_at=None)
    client = program(users["viewer"])
    listed = client.get(reverse("api-document-list")).json()
    assert {row["knowledge_base"] for row in listed["results"]} == {"a"}


def test_rights_are_read_once(users, rows, django_assert_num_queries):
    curator = User.objects.get(username="curator")
    request = type("Request", (), {"user": curator})()
    page, document = PAGES[Document], rows["a"][Document]
    page.has_change_permission(request, document)
    with django_assert_num_queries(0):
        for _ in range(50):
            assert page.has_change_permission(request, document)
            assert not page.has_delete_permission(request, rows["b"][Document])


def test_no_page_leads_where_its_reader_may_not_go(rows, clients):
    viewer = clients["viewer"]
    Outage.objects.create(service="openai", reason="timeout", ended_at=timezone.now())
    base = rows["a"][KnowledgeBase]
    lists = ["evaluation_goldenquestion", "evaluation_run"]
    lists += [f"knowledge_{page.opts.model_name}" for page in PAGES.values()]
    pages = [reverse("admin:index")] + [reverse(f"admin:{one}_changelist") for one in lists]
    pages.append(reverse("admin:knowledge_knowledgebase_sureness", args=[base.pk]))
    read = "".join(viewer.get(page).content.decode() for page in pages)
    linked = set(re.findall(r'href="(/admin/[^"?#]*)', read))
    assert len(linked) > len(lists)
    assert [path for path in sorted(linked) if viewer.get(path).status_code == 403] == []

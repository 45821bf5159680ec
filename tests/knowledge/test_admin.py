import threading

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.db.models.signals import pre_save
from django.urls import reverse

from knowledge import lexical, tasks, uploading
from knowledge.models import Chunk, Document, KnowledgeBase, Status
from tests.knowledge.documents import somebody_waits
from tests.knowledge.test_archives import zipped
from tests.knowledge.test_uploading import add, stored

pytestmark = pytest.mark.django_db
LIST = reverse("admin:knowledge_document_changelist")
UPLOAD = reverse("admin:knowledge_document_add")


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    return settings.MEDIA_ROOT


@pytest.fixture
def base():
    return KnowledgeBase.objects.create(slug="ops", name="Ops")


@pytest.fixture
def document(base):
    added = add(base, external_id="a")
    tasks.process(added.revision.pk)
    return Document.objects.get()


def staff(client, *permissions):
    user = User.objects.create(username="-".join(permissions) or "nobody", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


def markdown(name="a.md", text="# 重启\n\n步骤"):
    return SimpleUploadedFile(name, text.encode())


def bad(name="b.pdf"):
    return SimpleUploadedFile(name, b"\x7fELF\x02\x01\x01" + bytes(60))


def test_several_files_at_once_and_a_bad_one_loses_no_good_one(admin_client, admin_user, base):
    files = [markdown("a.md", "甲"), bad(), markdown("c.md", "丙"), SimpleUploadedFile("d.md", b"")]
    data = {"knowledge_base": base.pk, "files": files}
    page = admin_client.post(UPLOAD, data, follow=True)
    assert page.redirect_chain[0][0] == f"{LIST}?knowledge_base__id__exact={base.pk}"
    told = {
        str(message).partition(":")[0]: message.level_tag for message in page.context["messages"]
    }
    assert told == {"a.md": "success", "b.pdf": "error", "c.md": "success", "d.md": "error"}
    assert Document.objects.filter(latest__status=Status.QUEUED).count() == 2
    assert Document.objects.filter(latest__status=Status.FAILED).count() == 2
    assert {row.approved_by for row in Document.objects.all()} == {admin_user}


def test_a_script_gets_the_result_of_each_file(admin_client, base):
    data = {"knowledge_base": base.pk, "files": markdown()}
    headers = {"Accept": "application/json"}
    first = admin_client.post(UPLOAD, data, headers=headers).json()["results"][0]
    again = admin_client.post(UPLOAD, {**data, "files": markdown()}, headers=headers)
    assert first["pending"] and not first["failed"] and "<progress" in first["html"]
    assert first["url"] == reverse("admin:knowledge_document_change", args=[first["document"]])
    assert again.json()["results"][0]["document"] == first["document"]
    nothing = admin_client.post(UPLOAD, {"files": markdown()}, headers=headers)
    assert nothing.status_code == 400 and "knowledge_base" in nothing.json()["errors"]


def test_a_zip_builds_a_base_in_one_step(admin_client):
    archive = zipped({"手册/a.md": "甲", "手册/b.md": "乙"}).read()
    data = {"new_base": "网络组", "files": SimpleUploadedFile("手册.zip", archive)}
    admin_client.post(UPLOAD, data)
    base = KnowledgeBase.objects.get(name="网络组")
    assert base.slug
    assert set(base.documents.values_list("external_id", flat=True)) == {"手册/a.md", "手册/b.md"}
    # The name again is the same base.
    admin_client.post(UPLOAD, {"new_base": "网络组", "files": markdown()})
    assert KnowledgeBase.objects.count() == 1 and base.documents.count() == 3


def test_a_damaged_zip_is_said_and_stores_nothing(admin_client, base):
    data = {"knowledge_base": base.pk, "files": SimpleUploadedFile("a.zip", b"PK\x03\x04...")}
    page = admin_client.post(UPLOAD, data, follow=True)
    assert [message.level_tag for message in page.context["messages"]] == ["error"]
    assert not Document.objects.exists()


def test_the_list_shows_state_error_and_what_still_answers(admin_client, base, document):
    add(base, b"\x7fELF\x02\x01\x01" + bytes(60), name="x.bin", external_id="a")
    page = admin_client.get(LIST).content.decode()
    failed = Document.objects.get().latest
    assert failed.error in page and "先前的内容仍在回答" in page
    for query in ("latest__status__exact=failed", "approved=yes", "origin__exact=upload", "q=重启"):
        assert admin_client.get(f"{LIST}?{query}").context["cl"].result_count == 1
    assert admin_client.get(f"{LIST}?approved=no").context["cl"].result_count == 0


def test_states_are_told_of_the_documents_asked_for(admin_client, base, document):
    queued = add(base, "另一个").document
    url = reverse("admin:knowledge_document_states")
    states = admin_client.get(f"{url}?ids={document.pk},{queued.pk},999,x").json()["documents"]
    assert set(states) == {str(document.pk), str(queued.pk)}
    assert not states[str(document.pk)]["pending"] and states[str(document.pk)]["chunks"] == 1
    assert states[str(queued.pk)]["pending"] and "<progress" in states[str(queued.pk)]["html"]


def act(client, action, *documents):
    data = {"action": action, "_selected_action": [row.pk for row in documents], "post": "yes"}
    return client.post(LIST, data, follow=True)


def test_actions_retry_approve_and_delete(
    admin_client, admin_user, base, document, files, django_capture_on_commit_callbacks
):
    document.latest.fail("…")
    refused = add(base, b"", name="empty.txt").document
    page = act(admin_client, "retry", document, refused)
    assert [message.level_tag for message in page.context["messages"]] == ["success", "warning"]
    document.latest.refresh_from_db()
    assert document.latest.status == Status.QUEUED
    Document.objects.update(approved_at=None, approved_by=None)
    act(admin_client, "approve", document)
    assert Document.objects.get(approved_by=admin_user, approved_at__isnull=False) == document
    with django_capture_on_commit_callbacks(execute=True):
        act(admin_client, "delete_selected", document, refused)
    assert not Document.objects.exists() and not Chunk.objects.exists() and not stored(files)


def test_the_document_page_tells_facts_revisions_and_links(admin_client, document):
    page = admin_client.get(reverse("admin:knowledge_document_change", args=[document.pk]))
    html = page.content.decode()
    assert f"/revisions/{document.latest_id}/original" in html
    assert f'?document__id__exact={document.pk}"' in html
    assert "重启.md" in html and "回答中" in html


def test_a_renamed_document_is_saved(admin_client, document):
    url = reverse("admin:knowledge_document_change", args=[document.pk])
    admin_client.post(url, {"title": "新标题", "external_id": "a"})
    document.refresh_from_db()
    assert document.title == "新标题"


@pytest.mark.django_db(transaction=True)
def test_a_document_is_renamed_while_another_is_swapped_in(admin_client, base, document):
    url = reverse("admin:knowledge_document_change", args=[document.pk])

    def rename():
        admin_client.post(url, {"title": "新标题", "external_id": "a"})
        connection.close()

    other = threading.Thread(target=rename)
    with transaction.atomic():
        lexical.lock(base.pk)
        other.start()
        somebody_waits()
        KnowledgeBase.objects.filter(pk=base.pk).update(version=99)  # as the swap goes on
    other.join()
    document.refresh_from_db()
    base.refresh_from_db()
    assert document.title == "新标题" and base.version > 99


def test_saving_a_base_leaves_the_version_that_a_worker_raised(admin_client, base):
    def work(instance, **kwargs):
        KnowledgeBase.objects.filter(pk=base.pk).update(version=99)

    url = reverse("admin:knowledge_knowledgebase_change", args=[base.pk])
    form = admin_client.get(url).context["adminform"].form
    posted = {name: form[name].value() or "" for name in form.fields} | {"name": "新名"}
    posted |= {"roles-TOTAL_FORMS": 0, "roles-INITIAL_FORMS": 0, "groups": []}
    pre_save.connect(work, sender=KnowledgeBase)
    try:
        admin_client.post(url, posted)
    finally:
        pre_save.disconnect(work, sender=KnowledgeBase)
    base.refresh_from_db()
    assert (base.name, base.version) == ("新名", 99)


def test_an_edited_chunk_is_found_by_its_new_words(admin_client, base, document):
    chunk = Chunk.objects.get()
    url = reverse("admin:knowledge_chunk_change", args=[chunk.pk])
    data = {"question": "", "text": "用 rabbitmqctl 重置", "enabled": "on"}
    assert admin_client.post(url, data).status_code == 302
    found = admin_client.get(
        reverse("admin:knowledge_knowledgebase_try", args=[base.pk]), {"q": "rabbitmqctl"}
    ).context["found"]
    assert [passage.chunk_id for passage in found.passages] == [chunk.pk]


def test_a_disabled_chunk_answers_no_more(admin_client, base, document):
    chunk = Chunk.objects.get()
    page = reverse("admin:knowledge_chunk_changelist")
    version = KnowledgeBase.objects.get().version
    admin_client.post(page, {"action": "disable", "_selected_action": chunk.pk})
    chunk.refresh_from_db()
    assert not chunk.enabled and KnowledgeBase.objects.get().version > version
    url = reverse("admin:knowledge_knowledgebase_try", args=[base.pk])
    assert admin_client.get(url, {"q": "nginx"}).context["found"].passages == []


def test_deleting_a_base_deletes_its_files(
    admin_client, base, document, files, django_capture_on_commit_callbacks
):
    url = reverse("admin:knowledge_knowledgebase_delete", args=[base.pk])
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(url, {"post": "yes"})
    assert not KnowledgeBase.objects.exists() and not stored(files)


def test_bases_are_listed_with_their_counts(admin_client, base, document):
    add(base, b"", name="empty.txt")
    row = admin_client.get(reverse("admin:knowledge_knowledgebase_changelist")).context["cl"]
    counted = row.result_list[0]
    assert (counted.document_count, counted.failed_count, counted.chunks.count()) == (2, 1, 1)


def test_permissions_decide_who_may_do_what(client, base, document):
    staff(client, "view_document")
    assert client.get(LIST).status_code == 200
    assert client.get(UPLOAD).status_code == 403
    assert client.post(UPLOAD, {"knowledge_base": base.pk, "files": markdown()}).status_code == 403
    assert "retry" not in client.get(LIST).content.decode()
    staff(client, "add_document")
    page = client.get(UPLOAD)
    assert page.status_code == 200 and "new_base" not in page.context["form"].fields
    assert client.get(reverse("admin:knowledge_document_states")).status_code == 403
    trial = reverse("admin:knowledge_knowledgebase_try", args=[base.pk])
    assert client.get(trial).status_code == 403


def test_the_start_page_says_what_waits(admin_client, base):
    add(base, "等待中")
    add(base, b"", name="empty.txt")
    uploading.add_text(base, text="收集来的", title="待批准", approved=False)
    html = admin_client.get(reverse("admin:index")).content.decode()
    for query in ("latest__status__exact=failed", "approved=no"):
        assert f"{LIST}?{query}" in html

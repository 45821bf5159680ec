"""The page of a knowledge base, and taking it out and in through the admin."""

import threading

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.urls import reverse
from django_q.models import OrmQ

from knowledge import shipping, tasks, transfer, uploading
from knowledge.models import Document, Entry, KnowledgeBase, Revision, Status, Term
from opsdesk import locking
from tests.knowledge.test_uploading import add

pytestmark = pytest.mark.django_db
LIST = reverse("admin:knowledge_knowledgebase_changelist")
IMPORT = reverse("admin:knowledge_knowledgebase_import")


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"


@pytest.fixture
def base():
    base = KnowledgeBase.objects.create(slug="ops", name="Ops")
    for n in range(3):
        added = add(base, f"# 手册 {n}\n\n重启第 {n} 号", external_id=str(n), product="网关",
                    tags=["网络"])  # fmt: skip
        tasks.process(added.revision.pk)
    uploading.retire(Document.objects.filter(external_id="2"), "gone")
    add(base, b"\x7fELF\x02\x01\x01" + bytes(60), name="x.bin")
    Entry.objects.create(knowledge_base=base, question="草稿")
    Term.objects.create(knowledge_base=base, canonical="nginx")
    return base


def page_of(base):
    return reverse("admin:knowledge_knowledgebase_change", args=[base.pk])


def test_the_page_counts_what_is_there(admin_client, base):
    page = admin_client.get(page_of(base))
    documents = page.context["panels"][0]["rows"]
    # All, answering, failed, being read, unapproved, retired, expired.
    assert [row["value"] for row in documents[:7]] == [4, 2, 1, 0, 0, 1, 0]
    assert documents[2]["level"] == "error"
    failed = Document.objects.get(latest__status=Status.FAILED)
    assert list(page.context["failures"]) == [failed]
    assert failed.latest.error in page.content.decode()
    for panel in page.context["panels"]:
        for row in panel["rows"]:
            if row.get("url"):
                assert admin_client.get(row["url"]).status_code == 200, row


def test_it_asks_the_database_as_often_for_many_documents_as_for_few(
    admin_client, base, django_assert_max_num_queries
):
    for n in range(30):
        add(base, f"文档 {n}")
    with django_assert_max_num_queries(45):
        admin_client.get(page_of(base))


def test_failures_are_processed_again_from_here(admin_client, base):
    document = Document.objects.get(external_id="0")
    document.latest.fail("…")
    page = admin_client.get(page_of(base)).content.decode()
    assert f'value="{document.pk}"' in page
    data = {"action": "retry", "_selected_action": [document.pk]}
    admin_client.post(reverse("admin:knowledge_document_changelist"), data)
    assert Revision.objects.get(pk=document.latest_id).status == Status.QUEUED


def work():
    """What the worker does with the tasks of this module."""
    for row in OrmQ.objects.filter():
        if row.func().startswith("knowledge.shipping"):
            getattr(shipping, row.func().rpartition(".")[2])(*row.args())
            row.delete()


def test_a_base_goes_out_and_comes_in_again(admin_client, base):
    admin_client.post(reverse("admin:knowledge_knowledgebase_export", args=[base.pk]))
    waiting = admin_client.get(page_of(base))
    assert "<progress" in waiting.content.decode() and waiting["Refresh"]
    work()
    ready = admin_client.get(page_of(base))
    download = reverse("admin:knowledge_knowledgebase_download", args=[base.pk])
    assert download in ready.content.decode() and "Refresh" not in ready
    got = admin_client.get(download)
    content = b"".join(got.streaming_content)
    assert "ops.opsdesk.zip" in got["Content-Disposition"]

    assert IMPORT in admin_client.get(LIST).content.decode()
    again = {"file": SimpleUploadedFile("ops.zip", content), "slug": "ops"}
    assert admin_client.post(IMPORT, again).context["form"].errors["slug"]
    copy = {"file": SimpleUploadedFile("ops.zip", content), "slug": "copy"}
    sent = admin_client.post(IMPORT, copy)
    assert "<progress" in admin_client.get(sent.url).content.decode()
    work()
    made = KnowledgeBase.objects.get(slug="copy")
    assert page_of(made) in admin_client.get(sent.url).content.decode()
    assert made.documents.count() == 4


def test_what_is_no_export_is_said_at_once_and_a_failure_later(admin_client, base):
    page = admin_client.post(IMPORT, {"file": SimpleUploadedFile("a.zip", b"PK...")})
    assert page.context["form"].errors["file"]
    admin_client.post(reverse("admin:knowledge_knowledgebase_export", args=[base.pk]))
    work()
    content = shipping.export_path(base).read_bytes()
    sent = admin_client.post(IMPORT, {"file": SimpleUploadedFile("a.zip", content)})
    work()  # the slug is taken
    assert "ops" in admin_client.get(sent.url).content.decode()
    assert shipping.state(sent.url.partition("key=")[2])["state"] == "failed"
    assert KnowledgeBase.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_export_that_is_delivered_again_while_it_runs_does_nothing(base):
    def again():
        shipping.export(base.pk)
        connection.close()

    with locking.held(f"shipping:{shipping.export_key(base)}"):
        other = threading.Thread(target=again)
        other.start()
        other.join()
    assert not shipping.export_path(base).exists()
    again()
    assert shipping.export_path(base).exists()


def test_an_export_that_is_gone_is_said(admin_client, base):
    url = reverse("admin:knowledge_knowledgebase_download", args=[base.pk])
    assert admin_client.get(url, follow=True).context["messages"]


def test_an_export_that_stumbles_is_not_said_to_run_for_ever(base, monkeypatch):
    def stumble(*args):
        raise ZeroDivisionError

    monkeypatch.setattr(transfer, "export", stumble)
    shipping.begin_export(base)
    with pytest.raises(ZeroDivisionError):
        shipping.export(base.pk)
    assert shipping.state(shipping.export_key(base))["state"] == "failed"

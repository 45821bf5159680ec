"""Files with a password: kept, opened with it, and the password kept from sight."""

import io
import json
from io import StringIO

import docx
import msoffcrypto
import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.urls import reverse
from django_q.models import OrmQ

from knowledge import pages, tasks, uploading
from knowledge.models import Chunk, Document, KnowledgeBase, Revision, Status
from tests.knowledge.parsing import files
from tests.knowledge.test_admin import staff
from tests.knowledge.test_api import client

pytestmark = pytest.mark.django_db
PASSWORD = "Über-geheim 密码"


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"


@pytest.fixture
def base():
    return KnowledgeBase.objects.create(slug="ops", name="Ops")


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A Word file and a PDF that open with PASSWORD."""
    folder = tmp_path_factory.mktemp("locked")
    plain, sealed = io.BytesIO(), io.BytesIO()
    word = docx.Document()
    word.add_paragraph("全站不可用时，先切换主库。")
    word.save(plain)
    msoffcrypto.OfficeFile(plain).encrypt(PASSWORD, sealed)
    files.pdf(folder / "a.pdf", [["主从切换步骤"]], password="1234")
    return {"docx": sealed.getvalue(), "pdf": (folder / "a.pdf").read_bytes()}


def add(base, content, name, **options):
    return uploading.add(base, file=ContentFile(content), name=name, approved=True, **options)


def read(document):
    tasks.process(document.latest_id)
    return Revision.objects.get(pk=document.latest_id)


def test_a_locked_file_is_kept_until_its_password_comes(base, locked):
    document = add(base, locked["docx"], "值班.docx").document
    revision = read(document)
    assert (revision.status, revision.locked) == (Status.FAILED, True)
    assert "密码" in revision.error and revision.file.size == len(locked["docx"])
    assert uploading.unlock(document, "wrong")
    revision = read(document)
    assert (revision.status, revision.password) == (Status.FAILED, "")
    assert "密码不正确" in revision.error
    assert uploading.unlock(document, PASSWORD)
    revision = read(document)
    assert (revision.status, revision.opened_with) == (Status.READY, PASSWORD)
    assert Chunk.objects.filter(text__contains="全站不可用").exists()


def test_a_password_that_comes_with_the_file_opens_it(base, locked):
    document = add(base, locked["pdf"], "a.pdf", password="1234").document
    assert read(document).status == Status.READY
    assert pages.picture(document.latest, 1).exists()


def test_the_same_file_with_a_password_is_tried_again(base, locked):
    document = add(base, locked["pdf"], "a.pdf").document
    assert read(document).locked
    again = add(base, locked["pdf"], "a.pdf", password="1234")
    assert not again.created and read(document).status == Status.READY


def test_the_password_is_nowhere_in_clear(base, locked, capsys, caplog):
    document = add(base, locked["docx"], "a.docx", password=PASSWORD).document
    read(document)
    stored = json.dumps(
        [*Revision.objects.values("password", "error", "parsed"), *OrmQ.objects.values("payload")],
        ensure_ascii=False,
    )
    told = capsys.readouterr()
    assert PASSWORD not in stored + told.out + told.err + caplog.text
    uploading.delete([document])
    assert not Revision.objects.exists()


def test_a_file_without_a_lock_keeps_no_password(base):
    assert not add(base, "# 重启".encode(), "a.md", password="x").revision.password


class TestThePage:
    def url(self, document):
        return reverse("admin:knowledge_document_unlock", args=[document.pk])

    @pytest.fixture
    def document(self, base, locked):
        document = add(base, locked["pdf"], "a.pdf").document
        read(document)
        return Document.objects.get()

    def test_it_asks_and_queues(self, admin_client, document):
        address = reverse("admin:knowledge_document_change", args=[document.pk])
        assert self.url(document) in admin_client.get(address).content.decode()
        page = admin_client.post(self.url(document), {"password": "falsch"}, follow=True)
        assert page.redirect_chain[0][0] == address
        assert "密码不正确" not in page.content.decode()
        read(document)
        assert "密码不正确" in admin_client.get(address).content.decode()
        admin_client.post(self.url(document), {"password": "1234"})
        assert read(document).status == Status.READY
        assert self.url(document) not in admin_client.get(address).content.decode()

    def test_only_curators_of_its_base_may(self, client, document):
        viewer = staff(client, "view_document")
        assert viewer.post(self.url(document), {"password": "1234"}).status_code == 403
        page = viewer.get(reverse("admin:knowledge_document_change", args=[document.pk]))
        assert self.url(document) not in page.content.decode()

    def test_it_takes_no_get_and_no_empty_password(self, admin_client, document):
        assert admin_client.get(self.url(document)).status_code == 405
        admin_client.post(self.url(document), {"password": ""})
        assert Revision.objects.get().status == Status.FAILED

    def test_an_upload_brings_it(self, admin_client, base, locked):
        file = SimpleUploadedFile("值班.docx", locked["docx"])
        data = {"knowledge_base": base.pk, "files": [file], "password": PASSWORD}
        admin_client.post(reverse("admin:knowledge_document_add"), data)
        assert read(Document.objects.get()).status == Status.READY


def test_the_command_takes_it_from_a_pipe(locked, tmp_path, monkeypatch):
    (tmp_path / "a.pdf").write_bytes(locked["pdf"])
    monkeypatch.setattr("sys.stdin", StringIO("1234\n"))
    out = StringIO()
    call_command("parse", tmp_path / "a.pdf", "--password", stdout=out)
    assert "主从切换" in out.getvalue()


def test_the_api_takes_it_and_never_tells_it(base, locked):
    writer = client("add_document", "view_document")
    address = "/api/v1/documents/"
    order = {"knowledge_base": "ops", "file": SimpleUploadedFile("a.pdf", locked["pdf"])}
    first = writer.post(address, order)
    read(Document.objects.get())
    told = writer.get(f"{address}{first.json()['id']}/").json()
    assert (told["status"], told["locked"]) == ("failed", True)
    order = {**order, "file": SimpleUploadedFile("a.pdf", locked["pdf"]), "password": "1234"}
    again = writer.post(address, order)
    assert again.json()["id"] == first.json()["id"] and "1234" not in again.content.decode()
    assert read(Document.objects.get()).status == Status.READY

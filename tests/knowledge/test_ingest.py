import io
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from knowledge import tasks
from knowledge.models import Document, KnowledgeBase, Revision, Status


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "手册"
    (folder / "网络").mkdir(parents=True)
    (folder / "重启.md").write_text("# 重启\n\nsystemctl restart nginx")
    (folder / "网络" / "地址.txt").write_text("网关 10.0.0.1")
    (folder / "坏的.pdf").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(60))
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("hidden")
    (folder / "link.md").symlink_to(folder / "重启.md")
    return folder


def ingest(folder, **options):
    """What is said; the folder has one file that cannot be read, and the command fails for it."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError, match="1"):
        call_command("ingest", folder, knowledge_base="ops", stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def paths():
    return set(Document.objects.values_list("external_id", flat=True))


@pytest.mark.django_db
def test_a_folder_becomes_a_base(folder):
    out, err = ingest(folder)
    base = KnowledgeBase.objects.get(slug="ops")
    assert paths() == {"重启.md", "网络/地址.txt", "坏的.pdf"}
    assert base.documents.filter(approved_at__isnull=False).count() == 3
    assert {row.origin for row in base.documents.all()} == {Document.Origin.INGEST}
    assert "3 个文件" in out and err.startswith("坏的.pdf: ")


@pytest.mark.django_db
def test_unchanged_files_stay_and_changed_ones_are_replaced(folder):
    ingest(folder)
    for pk in Revision.objects.unfinished().values_list("pk", flat=True):
        tasks.process(pk)
    (folder / "重启.md").write_text("# 重启\n\nnginx -s reload")
    out, _ = ingest(folder)
    assert "其中 2 个没有变化" in out
    assert Document.objects.count() == 3 and Revision.objects.count() == 4
    assert Revision.objects.unfinished().get().name == "重启.md"


@pytest.mark.django_db(transaction=True)
def test_waiting_ends_when_all_is_read(folder):
    def work():
        while Document.objects.count() < 3 or Revision.objects.unfinished().exists():
            for pk in Revision.objects.unfinished().values_list("pk", flat=True):
                tasks.process(pk)
        connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    out, _ = ingest(folder, wait=True)
    worker.join()
    assert f"{Status.READY.label}: 2" in out and f"{Status.FAILED.label}: 1" in out
    assert Revision.objects.filter(status=Status.READY).count() == 2


@pytest.mark.django_db
def test_a_folder_without_a_bad_file_succeeds(folder):
    (folder / "坏的.pdf").unlink()
    call_command("ingest", folder, knowledge_base="ops", stdout=io.StringIO())
    assert Document.objects.count() == 2


@pytest.mark.django_db
def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(CommandError):
        call_command("ingest", tmp_path / "nowhere", knowledge_base="ops")
    assert not KnowledgeBase.objects.exists()


@pytest.mark.django_db
def test_a_base_gets_a_name_that_the_api_can_say(folder):
    with pytest.raises(CommandError, match="坏 名"):
        call_command("ingest", folder, knowledge_base="坏 名")
    assert not KnowledgeBase.objects.exists()

import threading
from datetime import date
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db import connection, transaction
from django_q.models import OrmQ

from knowledge import indexing, lexical, tasks, uploading
from knowledge.models import Chunk, Document, KnowledgeBase, Revision, Source, Status
from tests.knowledge.documents import somebody_waits

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    return settings.MEDIA_ROOT


@pytest.fixture
def base():
    return KnowledgeBase.objects.create(slug="ops", name="Ops")


@pytest.fixture
def curator():
    return User.objects.create(username="curator")


def add(base, content="# 重启\n\nsystemctl restart nginx\n", name="重启.md", **options):
    data = content if isinstance(content, bytes) else content.encode()
    return uploading.add(base, file=ContentFile(data), name=name, **{"approved": True, **options})


def stored(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def finish(added):
    tasks.process(added.revision.pk)
    added.revision.refresh_from_db()
    return added.revision


def test_a_file_is_kept_and_queued_with_its_facts(base, curator):
    added = add(base, user=curator)
    revision = added.revision
    assert added.created and revision.status == Status.QUEUED
    assert (added.document.title, revision.name) == ("重启", "重启.md")
    assert revision.media_type == "text/markdown"
    assert revision.file.read().decode() == "# 重启\n\nsystemctl restart nginx\n"
    assert added.document.approved_by == curator and added.document.approved_at
    assert [row.args() for row in OrmQ.objects.all()] == [(revision.pk,)]


def test_a_queued_file_becomes_ready_and_answers(base):
    revision = finish(add(base))
    document = revision.document
    assert revision.status == Status.READY and revision.progress == 100 and not revision.error
    assert document.current == document.latest == revision
    assert "systemctl" in document.chunks.get().text


def test_the_same_bytes_are_the_same_document(base):
    first, second = add(base), add(base, name="again.md")
    assert not second.created and second.document == first.document
    assert Document.objects.count() == Revision.objects.count() == OrmQ.objects.count() == 1


def test_the_same_bytes_in_another_base_are_another_document(base):
    add(base)
    other = KnowledgeBase.objects.create(slug="other", name="Other")
    assert add(other).created


def test_an_external_id_is_given_to_the_document_that_has_the_bytes(base):
    first = add(base)
    named = add(base, external_id="runbook/nginx")
    assert not named.created and named.document == first.document
    assert Document.objects.get().external_id == "runbook/nginx"
    # Its own id makes another document of the same bytes.
    assert add(base, external_id="runbook/copy").created


def test_a_replacement_answers_once_it_is_ready(base):
    old = finish(add(base, external_id="a"))
    new = add(base, "# 重启\n\nnginx -s reload\n", external_id="a")
    document = Document.objects.get()
    assert document.current == old and document.latest == new.revision
    assert "systemctl" in Chunk.objects.get().text
    finish(new)
    document.refresh_from_db()
    assert document.current == new.revision
    assert "reload" in Chunk.objects.get().text
    assert old.file.storage.exists(old.file.name)  # old citations still open it


def test_a_failed_replacement_leaves_the_old_content_answering(base):
    old = finish(add(base, external_id="a"))
    refused = add(base, b"\x7fELF\x02\x01\x01" + bytes(60), name="a.bin", external_id="a")
    document = Document.objects.get()
    assert refused.revision.status == Status.FAILED and refused.revision.error
    assert document.current == old and document.latest == refused.revision
    assert Chunk.objects.filter(revision=old).exists()
    # Going back to what answers heals the document.
    assert not add(base, external_id="a").revision.error


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x02\x01\x01" + bytes(60)])
def test_a_file_nobody_can_read_is_refused_with_a_sentence_and_not_kept(base, files, content):
    added = add(base, content, name="program.pdf")
    assert added.revision.status == Status.FAILED
    assert len(added.revision.error) > 5 and not added.revision.file
    assert not stored(files) and not OrmQ.objects.exists()
    assert not uploading.retry(added.document)
    # Again the same: no second document.
    assert not add(base, content, name="program.pdf").created


def test_a_file_over_the_limit_is_refused(base, files, settings):
    settings.UPLOAD_MAX_BYTES = 1024 * 1024
    added = add(base, b"a" * (1024 * 1024 + 1))
    assert "1 MB" in added.revision.error and not stored(files)


def test_names_lose_what_could_hurt():
    assert uploading.clean_name("../../etc/passwd") == "passwd"
    assert uploading.clean_name("C:\\docs\\手册.pdf") == "手册.pdf"
    assert uploading.clean_name("a\x00b\u202egnp.exe\n") == "abgnp.exe"
    assert uploading.clean_name("/") == "file"
    assert uploading.clean_name("长" * 300 + ".docx") == "长" * 195 + ".docx"


def test_retry_processes_a_failed_revision_again(base):
    added = add(base)
    added.revision.fail("…")
    OrmQ.objects.all().delete()
    assert uploading.retry(added.document)
    assert OrmQ.objects.count() == 1
    assert not uploading.retry(added.document)  # already queued
    assert finish(added).status == Status.READY


def test_uploading_failed_bytes_again_tries_again(base):
    added = add(base)
    added.revision.fail("…")
    again = add(base)
    assert not again.created and again.revision.status == Status.QUEUED


def test_deleting_takes_chunks_and_files_along(base, files, django_capture_on_commit_callbacks):
    added = add(base)
    finish(added)
    with django_capture_on_commit_callbacks(execute=True):
        uploading.delete([added.document])
    assert not Document.objects.exists() and not Chunk.objects.exists() and not stored(files)


def test_approval_is_recorded_and_changes_what_the_base_answers(base, curator):
    added = add(base, approved=False, origin=Document.Origin.COLLECTED)
    assert added.document.approved_at is None
    version = KnowledgeBase.objects.get().version
    assert uploading.approve(Document.objects.all(), curator) == 1
    assert uploading.approve(Document.objects.all(), curator) == 0
    document = Document.objects.get()
    assert document.approved_by == curator and document.approved_at
    assert KnowledgeBase.objects.get().version == version + 1


def test_text_is_markdown_under_its_title(base):
    added = uploading.add_text(base, text="# A\n\n正文", title="关于/重启", approved=True)
    assert added.document.title == "关于/重启"
    assert added.revision.media_type == "text/markdown"
    assert finish(added).status == Status.READY


@pytest.mark.django_db(transaction=True)
def test_two_simultaneous_uploads_of_the_same_bytes_make_one_document(base):
    start, created = threading.Barrier(6), []

    def upload():
        start.wait()
        created.append(add(base).created)
        connection.close()

    threads = [threading.Thread(target=upload) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(created) == [False] * 5 + [True]
    assert Document.objects.count() == Revision.objects.count() == OrmQ.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_upload_while_another_revision_is_swapped_in_keeps_that(base):
    finish(add(base, external_id="a"))
    second = add(base, "# 二\n\n第二版", external_id="a").revision

    def upload():
        add(base, "# 三\n\n第三版", external_id="a")
        connection.close()

    other = threading.Thread(target=upload)
    with transaction.atomic():
        tasks.process(second.pk)
        other.start()
        somebody_waits()
    other.join()
    document = Document.objects.get()
    assert document.current == second and document.latest.name == "重启.md"
    assert set(document.chunks.values_list("revision", flat=True)) == {second.pk}


@pytest.mark.django_db(transaction=True)
def test_deleting_many_waits_for_a_swap_of_one_of_them(base, monkeypatch):
    monkeypatch.setattr(indexing, "BATCH", 1)
    documents = [finish(add(base, f"# {n}\n\n{n}")).document for n in range(2)]

    def delete():
        uploading.delete(documents)
        connection.close()

    other = threading.Thread(target=delete)
    with transaction.atomic():
        indexing.lock([documents[1].pk])
        other.start()
        somebody_waits()
        lexical.lock(base.pk)  # as the swap goes on
    other.join()
    assert not Document.objects.exists()


def test_a_new_upload_that_changes_whether_the_old_content_answers_raises_the_version(base):
    finish(add(base, external_id="a"))
    base.refresh_from_db()
    before = base.version
    add(base, "# 二\n\n第二版", external_id="a", approved=False)
    base.refresh_from_db()
    assert base.version > before


def test_what_nobody_approved_does_not_answer_for_its_approved_replacement(base):
    collected = add(base, b"# a\n\nsecret", external_id="x", approved=False)
    tasks.process(collected.revision.pk)
    assert Chunk.objects.filter(document=collected.document).exists()
    add(base, b"# a\n\nopen", external_id="x")
    assert not Chunk.objects.filter(document=collected.document).exists()


def test_a_curator_who_uploads_what_was_collected_approves_it(base):
    collected = add(base, approved=False)
    again = add(base, user=User.objects.create(username="curator"))
    assert not again.created
    assert Document.objects.get(pk=collected.document.pk).approved_by.username == "curator"


def test_files_are_stored_by_content_not_by_name(base):
    added = add(base, name="../../evil.md")
    path = Path(added.revision.file.name)
    assert path.name.startswith(added.revision.sha256)


def test_a_retired_document_answers_no_more_until_it_comes_back(base):
    document = finish(add(base, external_id="a", product="网关")).document
    base.refresh_from_db()
    documents, before = Document.objects.filter(pk=document.pk), base.version
    assert uploading.retire(documents, "gone from its folder") == 1
    assert uploading.retire(documents, "again") == 0
    document.refresh_from_db()
    base.refresh_from_db()
    assert (bool(document.retired_at), document.retired_reason) == (True, "gone from its folder")
    assert base.version == before + 1

    assert not add(base, external_id="a").created
    document.refresh_from_db()
    assert document.retired_at is None and not document.retired_reason
    uploading.retire(documents, "gone")
    assert add(base, "# 新的\n\n内容", external_id="a").document.retired_at is None
    uploading.retire(documents, "gone")
    assert uploading.restore(documents) == 1


def test_only_what_is_given_of_a_document_changes(base):
    source = Source.objects.create(knowledge_base=base, kind="folder", name="Share")
    add(base, external_id="a", product="网关", tags=["网络"], url="https://wiki/a", source=source)
    again = add(base, external_id="a", version="2.1", expires_on=date(2030, 1, 1))
    document = Document.objects.get()
    assert again.document == document and not again.created
    assert (document.product, document.version, document.tags) == ("网关", "2.1", ["网络"])
    assert (document.source, document.url) == (source, "https://wiki/a")
    add(base, "# 另一份\n\n内容", external_id="a", tags=[])
    document.refresh_from_db()
    assert document.tags == [] and document.expires_on == date(2030, 1, 1)

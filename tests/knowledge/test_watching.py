"""A watched folder: what is dropped there comes in, what is removed answers no more."""

import os
import shutil
import time
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from knowledge.models import Document, KnowledgeBase, Source
from knowledge.sources import folder, running, watching
from knowledge.sources import tasks as source_tasks
from knowledge.sources.folder import FolderOptions
from tests.browser import started, wait_for

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def places(settings, tmp_path, monkeypatch):
    settings.MEDIA_ROOT = tmp_path / "files"
    settings.INBOX = tmp_path / "inbox"
    monkeypatch.setattr(folder, "SETTLED", 0)


@pytest.fixture
def base():
    return KnowledgeBase.objects.create(slug="ops", name="运维")


@pytest.fixture
def inbox(base, settings):
    path = settings.INBOX / "ops"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def watched(base, inbox):
    return Source.objects.create(
        knowledge_base=base, kind="folder", name="收件夹", options={"path": str(inbox)}, every=1
    )


def look(source):
    source_tasks.refresh(source)
    while running.run(source.pk):
        pass
    source.refresh_from_db()
    return source.runs.first()


def counts(run):
    return (run.added, run.changed, run.unchanged, run.retired, run.failed)


def there():
    """The titles of what is not retired."""
    return sorted(Document.objects.filter(retired_at=None).values_list("title", flat=True))


def test_files_come_in_change_and_go(watched, inbox):
    (inbox / "子").mkdir()
    (inbox / "重启.md").write_text("# 重启\n\n执行 systemctl restart nginx。\n")
    (inbox / "子" / "扩容.md").write_text("# 扩容\n\n先备份。\n")
    assert counts(look(watched)) == (2, 0, 0, 0, 0)
    (inbox / "重启.md").write_text("# 重启\n\n执行 nginx -s reload。\n")
    assert counts(look(watched)) == (0, 1, 1, 0, 0)
    (inbox / "子" / "扩容.md").unlink()
    assert counts(look(watched)) == (0, 0, 1, 1, 0)
    assert there() == ["重启"]
    (inbox / "子" / "扩容.md").write_text("# 扩容\n\n先备份。\n")
    look(watched)
    assert there() == ["扩容", "重启"] and Document.objects.count() == 2


def test_a_folder_as_it_was_leaves_no_trace(watched, inbox, django_assert_max_num_queries):
    for n in range(20):
        (inbox / f"{n}.md").write_text(f"# {n}\n\n第 {n} 篇\n")
    look(watched)
    with django_assert_max_num_queries(16):
        look(watched)
    assert watched.runs.count() == 1 and watched.state == Source.State.IDLE


def test_a_renamed_file_keeps_its_document(watched, inbox):
    (inbox / "旧名.md").write_text("# 重启\n\n执行 systemctl restart nginx。\n")
    look(watched)
    before = Document.objects.get()
    (inbox / "旧名.md").rename(inbox / "新名.md")
    look(watched)
    after = Document.objects.get()
    assert after.pk == before.pk and after.title == "新名" and after.retired_at is None
    assert after.external_id.endswith(":新名.md")


def test_half_written_hidden_and_temporary_files_are_left_alone(watched, inbox, monkeypatch):
    for name in (".hidden.md", "~$open.docx", "a.md.part", "b.crdownload", "c.md~"):
        (inbox / name).write_text("x")
    (inbox / ".git").mkdir()
    (inbox / ".git" / "config.md").write_text("x")
    (inbox / "done.md").write_text("# 好\n\n写完了。\n")
    look(watched)
    assert there() == ["done"]
    monkeypatch.setattr(folder, "SETTLED", 3600)
    (inbox / "half.md").write_text("# 半")
    (inbox / "done.md").write_text("# 好\n\n又在写")
    look(watched)  # one is still unknown, the other as it was
    assert there() == ["done"] and Document.objects.get().revisions.count() == 1
    monkeypatch.setattr(folder, "SETTLED", 0)
    look(watched)
    assert there() == ["done", "half"]


def test_links_out_of_the_folder_are_not_followed(watched, inbox, tmp_path):
    (tmp_path / "secret.md").write_text("# 密钥\n\nhunter2\n")
    (inbox / "link.md").symlink_to(tmp_path / "secret.md")
    (inbox / "folder").symlink_to(tmp_path)
    (inbox / "nothing.md").symlink_to(tmp_path / "none.md")
    (inbox / "real.md").write_text("# 真\n\n真的文件。\n")
    (inbox / "inner.md").symlink_to(inbox / "real.md")
    os.mkfifo(inbox / "pipe.md")
    look(watched)
    assert there() == ["inner", "real"]


def test_a_folder_that_is_gone_or_not_mounted_retires_nothing(watched, inbox):
    for name in ("a", "b"):
        (inbox / f"{name}.md").write_text(f"# {name}\n\n{name}\n")
    look(watched)
    away = inbox.with_name("away")
    inbox.rename(away)
    for _look in range(3):
        look(watched)
    assert watched.state == Source.State.FAILED and str(inbox) in watched.error
    inbox.mkdir()  # the empty place where it is mounted
    look(watched)
    assert watched.state == Source.State.FAILED and there() == ["a", "b"]
    inbox.rmdir()
    away.rename(inbox)
    look(watched)
    assert watched.state == Source.State.IDLE and there() == ["a", "b"]
    # But who empties the folder itself means it.
    for path in inbox.iterdir():
        path.unlink()
    assert look(watched).retired == 2 and there() == []


def test_a_file_that_cannot_be_taken_is_an_error_of_its_own(watched, inbox, monkeypatch):
    (inbox / "a.md").write_text("# a\n\na\n")
    (inbox / "b.md").write_text("# b\n\nb\n")
    real = os.open

    def refuse(path, *args, **kwargs):
        if str(path).endswith("a.md"):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    assert counts(look(watched)) == (1, 0, 0, 0, 1)
    assert "Permission denied" in watched.items.get(key="a.md").error
    monkeypatch.undo()
    monkeypatch.setattr(folder, "SETTLED", 0)
    assert counts(look(watched)) == (1, 0, 1, 0, 0)


def test_a_file_of_an_unknown_type_is_said_once(watched, inbox):
    (inbox / "a.bin").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(60))
    assert counts(look(watched)) == (0, 0, 0, 0, 1)
    assert watched.items.get().error
    look(watched)
    assert watched.runs.count() == 1 and Document.objects.count() == 1


def test_a_name_that_is_not_utf8_is_said_and_retires_nothing(watched, inbox):
    (inbox / "a.md").write_text("# a\n\na\n")
    look(watched)
    (inbox / "a.md").unlink()
    Path(os.fsdecode(os.fsencode(inbox) + "/手册.md".encode("gb18030"))).write_text("x")
    look(watched)
    assert "手册.md" in watched.error and there() == ["a"]


def test_only_permitted_folders_can_be_chosen(base, inbox, settings, tmp_path):
    other = KnowledgeBase.objects.create(slug="other", name="别处")
    allowed = tmp_path / "shared"
    allowed.mkdir()
    settings.WATCH_ROOTS = [str(allowed)]

    def error(path, base=base):
        form = FolderOptions({"path": str(path)})
        form.source = Source(knowledge_base=base, kind="folder")
        return form.errors.get("path")

    (allowed / "sneaky").symlink_to("/etc")
    assert not error(inbox) and not error("子") and not error(allowed / "a")
    assert error("/etc") and error(inbox, other) and error(f"{inbox}/../other")
    assert error(allowed / "sneaky") and error(f"{allowed}-too")


def test_each_base_has_an_inbox_that_is_never_made_anew(base, settings):
    watching._open_inboxes()
    path = settings.INBOX / "ops"
    assert path.is_dir() and Source.objects.get().options == {"path": str(path)}
    shutil.rmtree(path)
    watching._open_inboxes()
    assert not path.exists() and Source.objects.count() == 1


def test_what_is_too_large_is_not_even_copied(watched, inbox, settings, monkeypatch):
    settings.UPLOAD_MAX_BYTES = 1000
    monkeypatch.setattr(folder.uploading, "add", lambda *args, **kw: pytest.fail("copied"))
    (inbox / "disk.md").write_text("x" * 1001)
    run = look(watched)
    assert counts(run) == (0, 0, 0, 0, 1) and "MB" in watched.items.get().error


def test_an_inbox_stays_where_it_is(base, settings, tmp_path):
    settings.WATCH_ROOTS = [str(tmp_path)]
    watching._open_inboxes()
    form = FolderOptions({"path": str(tmp_path)})
    form.source = Source.objects.get()
    assert form.errors["path"]
    form = FolderOptions(form.source.options)
    form.source = Source.objects.get()
    assert not form.errors


def test_a_base_that_takes_over_a_slug_does_not_share_the_inbox(base, settings):
    watching._open_inboxes()
    base.slug = "old"
    base.save()
    other = KnowledgeBase.objects.create(slug="ops", name="新")
    watching._open_inboxes()
    paths = dict(Source.objects.values_list("knowledge_base", "options__path"))
    assert paths[base.pk] == str(settings.INBOX / "ops")
    assert paths[other.pk] == str(settings.INBOX / f"ops-{other.pk}")
    form = FolderOptions({"path": paths[base.pk]})
    form.source = Source(knowledge_base=other, kind="folder")
    assert form.errors["path"]


def test_a_restored_inbox_begins_anew_beside_its_documents(watched, inbox, settings, tmp_path):
    Source.objects.update(memory={"inbox": True})
    (inbox / "a.md").write_text("# a\n\na\n")
    look(watched)
    settings.INBOX = tmp_path / "elsewhere"
    watching._open_inboxes()
    source = Source.objects.get()
    assert source.options == {"path": str(tmp_path / "elsewhere" / "ops")}
    look(source)
    assert there() == ["a"] and Document.objects.get().source is None


def watch(home):
    return started(home, "worker", "manage.py", "watch")


@pytest.mark.django_db(transaction=True)
def test_a_drop_is_taken_up_within_seconds(tmp_path):
    """The real process: files in, changed and out, and a database that goes away for a moment."""
    KnowledgeBase.objects.create(slug="ops", name="运维")
    home = tmp_path / "home"
    inbox = home / "inbox" / "ops"
    with watch(home):
        wait_for(inbox.is_dir, "the inbox")
        wait_for(lambda: Source.objects.filter(state="idle").exists(), "the first look")
        dropped = time.monotonic()
        (inbox / "重启.md").write_text("# 重启\n\n执行 systemctl restart nginx。\n")
        wait_for(lambda: there() == ["重启"], "the file to come in")
        assert time.monotonic() - dropped < 40  # the regular look comes after a minute
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        (inbox / "重启.md").rename(inbox / "启动.md")
        wait_for(lambda: there() == ["启动"], "the file to be renamed")
        (inbox / "启动.md").unlink()
        wait_for(lambda: there() == [], "the file to be retired")
    assert Document.objects.get().retired_at < timezone.now()

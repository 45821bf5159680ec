"""Everything goes into one file and comes back."""

import io
import json
import stat
import tarfile

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection

from opsdesk.backups import BackupError, backup, restore

User = get_user_model()
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def installation(settings, tmp_path):
    """One account, one uploaded file, a secret key."""
    settings.HOME = tmp_path / "home"
    settings.MEDIA_ROOT = settings.HOME / "files"
    (settings.MEDIA_ROOT / "documents").mkdir(parents=True)
    (settings.MEDIA_ROOT / "documents" / "手册.pdf").write_bytes(b"%PDF")
    (settings.HOME / "secret.key").write_text("the key")
    User.objects.create_user("wang", first_name="王")
    return settings.HOME


def test_round_trip(installation, tmp_path):
    target = tmp_path / "all.tar"
    cache.set("beat:turns", "of this home")
    backup(target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"home", "all.tar"}

    User.objects.all().delete()
    User.objects.create_user("li")
    document = installation / "files" / "documents" / "手册.pdf"
    document.write_bytes(b"changed")
    (installation / "files" / "later.pdf").write_bytes(b"new")
    (installation / "secret.key").write_text("another")

    with pytest.raises(BackupError, match="--force"):
        restore(target)
    assert User.objects.get().username == "li" and document.read_bytes() == b"changed"

    restore(target, force=True)
    assert User.objects.get().first_name == "王"
    assert cache.get("beat:turns") is None
    assert document.read_bytes() == b"%PDF"
    assert not (installation / "files" / "later.pdf").exists()
    assert (installation / "secret.key").read_text() == "the key"
    assert sorted(path.name for path in installation.iterdir()) == ["files", "secret.key"]


def test_the_extension_stays(installation, tmp_path):
    """The role of an external server could drop it with the schema, but not make it again."""
    asked = "SELECT oid FROM pg_extension WHERE extname = 'vector'"
    with connection.cursor() as cursor:
        cursor.execute(asked)
        before = cursor.fetchone()
    backup(tmp_path / "all.tar")
    restore(tmp_path / "all.tar", force=True)
    with connection.cursor() as cursor:
        cursor.execute(asked)
        assert cursor.fetchone() == before is not None


def test_an_installation_without_accounts_is_free(installation, tmp_path):
    call_command("backup", str(tmp_path / "all.tar"))
    User.objects.all().delete()
    call_command("restore", str(tmp_path / "all.tar"))
    assert User.objects.get().username == "wang"


def rewritten(source, target, **changes):
    """`source` with other values in its manifest."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            content = old.extractfile(member).read() if member.isfile() else b""
            if member.name == "manifest.json":
                content = json.dumps(json.loads(content) | changes).encode()
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"postgres": 99}, "PostgreSQL 99"),
        ({"migrations": [["knowledge", "0999_later"]]}, "knowledge.0999_later"),
    ],
)
def test_what_is_newer_than_we_is_refused(installation, tmp_path, changes, said):
    backup(tmp_path / "all.tar")
    rewritten(tmp_path / "all.tar", tmp_path / "newer.tar", **changes)
    with pytest.raises(CommandError, match=said):
        call_command("restore", str(tmp_path / "newer.tar"), "--force")
    assert User.objects.get().username == "wang"


def test_a_dump_that_breaks_off_changes_nothing(installation, tmp_path):
    backup(tmp_path / "all.tar")
    with tarfile.open(tmp_path / "all.tar") as old, tarfile.open(tmp_path / "cut.tar", "w") as new:
        for member in old:
            content = old.extractfile(member).read() if member.isfile() else b""
            if member.name == "database.dump":
                content = content[: len(content) // 2]
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    with pytest.raises(BackupError, match="pg_restore"):
        restore(tmp_path / "cut.tar", force=True)
    assert User.objects.get().username == "wang"


def strange(path, name, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member, io.BytesIO())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../escaped", tarfile.REGTYPE),
        ("files/../../escaped", tarfile.REGTYPE),
        ("/etc/escaped", tarfile.REGTYPE),
        ("files/link", tarfile.SYMTYPE),
        ("files/link", tarfile.LNKTYPE),
        ("files/device", tarfile.CHRTYPE),
    ],
)
def test_a_strange_archive_is_refused(installation, tmp_path, name, kind):
    strange(tmp_path / "strange.tar", name, kind)
    with pytest.raises(BackupError, match=r"strange\.tar"):
        restore(tmp_path / "strange.tar", force=True)
    assert not list(tmp_path.rglob("escaped"))


def test_what_is_no_archive_is_refused(installation, tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BackupError, match="text"):
        restore(tmp_path / "text", force=True)

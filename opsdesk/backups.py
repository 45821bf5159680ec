"""Everything of an installation in one tar file, and back: database, uploaded files, secret key.

manifest.json   what wrote it: format, versions, migrations
database.dump   pg_dump's custom format
files/…         what was uploaded, and pictures cut from it
secret.key      without it sessions and signed links end
"""

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone
from django.utils.translation import gettext as _

from opsdesk import postgres

FORMAT = 1
MANIFEST, DUMP, FILES, SECRET = "manifest.json", "database.dump", "files", "secret.key"
# Everything in the dump is made anew, whatever was there before. Not the extension: the role of
# an external database may not be allowed to make it.
EMPTY_SCHEMA = b"""
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE 'DROP TABLE public.' || name || ' CASCADE';
    END LOOP;
END $$;
"""


class BackupError(Exception):
    """A backup cannot be made or restored; the message says why."""


def backup(target: Path) -> dict[str, Any]:
    """Write everything to `target`, which appears only when it is whole. Returns the manifest."""
    manifest = {
        "format": FORMAT,
        "created": timezone.now().isoformat(timespec="seconds"),
        "postgres": connection.cursor().connection.info.server_version // 10000,
        "migrations": sorted(map(list, MigrationLoader(connection).applied_migrations)),
    }
    with _scratch(target.parent) as folder:
        dump = folder / DUMP
        _tool(
            "pg_dump",
            "--format=custom",
            "--no-owner",
            "--no-privileges",
            "--exclude-table-data=opsdesk_cache",  # who lives here, not there
            f"--file={dump}",
        )
        whole = folder / "backup.tar"
        with tarfile.open(whole, "w") as tar:
            (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
            tar.add(folder / MANIFEST, MANIFEST)
            tar.add(dump, DUMP)
            # After the dump: what it names is there, unless it was deleted since.
            if settings.MEDIA_ROOT.exists():
                tar.add(settings.MEDIA_ROOT, FILES)
            if (settings.HOME / SECRET).exists():
                tar.add(settings.HOME / SECRET, SECRET)
        whole.chmod(0o600)
        with whole.open("rb") as file:
            os.fsync(file.fileno())
        whole.replace(target)
    return manifest


def restore(source: Path, force: bool = False) -> dict[str, Any]:
    """Make this installation what `source` holds. Returns its manifest.

    Raises BackupError, and changes nothing, when the file is not a backup, comes from a newer
    OpsDesk or PostgreSQL, or when somebody has an account here and `force` is not set.
    """
    with _scratch(settings.HOME) as folder:
        manifest = _unpack(source, folder)
        _check(manifest)
        if not force and _in_use():
            raise BackupError(_("This installation is in use. To replace all of it: --force."))
        _load(folder / DUMP)
        _replace(folder / FILES, settings.MEDIA_ROOT)
        with suppress(FileNotFoundError):
            (folder / SECRET).replace(settings.HOME / SECRET)
    connection.close()
    call_command("migrate", interactive=False, verbosity=0)
    call_command("createcachetable", verbosity=0)
    return manifest


def _unpack(source: Path, folder: Path) -> dict[str, Any]:
    """The members we know, as plain files under `folder`; links and strange paths are refused."""
    try:
        with tarfile.open(source) as tar:
            for member in tar:
                _unpack_one(tar, member, folder)
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    except (tarfile.TarError, FileNotFoundError, json.JSONDecodeError, EOFError) as error:
        raise BackupError(
            _("%(file)s is not a backup of OpsDesk, or not a whole one.") % {"file": source}
        ) from error
    (folder / FILES).mkdir(exist_ok=True)
    return manifest


def _unpack_one(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    parts = PurePosixPath(member.name).parts
    if parts[:1] not in {(MANIFEST,), (DUMP,), (FILES,), (SECRET,)} or ".." in parts:
        raise tarfile.TarError(member.name)
    target = folder.joinpath(*parts)
    if member.isdir():
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        raise tarfile.TarError(member.name)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(content, file)


def _check(manifest: dict[str, Any]) -> None:
    here = connection.cursor().connection.info.server_version // 10000
    if manifest["format"] != FORMAT or manifest["postgres"] > here:
        raise BackupError(
            _("The backup is of PostgreSQL %(theirs)s, this is %(ours)s: install the newer one.")
            % {"theirs": manifest["postgres"], "ours": here}
        )
    known = {tuple(key) for key in MigrationLoader(None).disk_migrations}
    if newer := {tuple(key) for key in manifest["migrations"]} - known:
        raise BackupError(
            _("A newer OpsDesk wrote this backup: here the migration %(name)s is not known.")
            % {"name": ".".join(min(newer))}
        )


def _in_use() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('auth_user') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT EXISTS (SELECT FROM auth_user)")
        return bool(cursor.fetchone()[0])


def _load(dump: Path) -> None:
    """Replace the database in one transaction: all of the dump is there, or nothing changed."""
    script = dump.with_suffix(".sql")
    with script.open("wb") as file:
        file.write(EMPTY_SCHEMA)
    with script.open("ab") as file:
        words = "--no-owner", "--no-privileges", "--no-comments", "--file=-", str(dump)
        _tool("pg_restore", *words, stdout=file)
    connection.close()
    _tool(
        "psql",
        "--quiet",
        "--no-psqlrc",
        "--single-transaction",
        "--set=ON_ERROR_STOP=1",
        f"--file={script}",
    )


def _replace(new: Path, target: Path) -> None:
    old = new.with_name("replaced")
    if target.exists():
        target.rename(old)
    new.rename(target)


def _tool(program: str, *words: str, stdout: IO[bytes] | int = subprocess.DEVNULL) -> None:
    """Run one of PostgreSQL's programs on our database. Raises BackupError with what it said."""
    environment = os.environ | _connection_environment()
    name = program
    if not settings.DATABASE_URL:
        name = str(postgres.running_server().binaries / program)
    if program != "pg_restore":  # that one only writes a script
        words = (*words, "--dbname", connection.settings_dict["NAME"])
    try:
        subprocess.run(  # noqa: S603
            [name, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=True,
        )
    except FileNotFoundError as error:
        raise BackupError(
            _("%(program)s is missing: install PostgreSQL's client programs.")
            % {"program": program}
        ) from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise BackupError(f"{program}: {said}") from error


def _connection_environment() -> dict[str, str]:
    """libpq's variables for our connection; a password on the command line could be read."""
    database = connection.settings_dict
    known = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGPASSWORD": "PASSWORD"}
    values = {name: str(database[key]) for name, key in known.items() if database.get(key)}
    options = database.get("OPTIONS", {})
    return values | {
        f"PG{key.upper()}": str(value)
        for key, value in options.items()
        if key in {"sslmode", "sslrootcert", "sslcert", "sslkey", "passfile", "service"}
    }


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """A private folder on the same file system as its parent, gone at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=parent) as folder:
        yield Path(folder)

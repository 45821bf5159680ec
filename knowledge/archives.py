"""Zip files as a way to bring many documents at once. Nothing is unpacked to a path of its own."""

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, cast

import pyzipper
from django.conf import settings
from django.core.files.base import File
from django.utils.translation import gettext as _

from knowledge.parsing.detection import BROKEN_ZIP
from opsdesk.errors import ParseError

MAX_FILES = 2000
# All files together, unpacked, as a multiple of what one upload may weigh.
MAX_TIMES_UPLOAD = 10
ENCRYPTED = 0x1
UTF8 = 0x800
# Of what says of its encryption what nobody knows, the last two.
BROKEN = (*BROKEN_ZIP, pyzipper.BadZipFile, KeyError, struct.error)


class Packed(File):
    """A file of an archive, unpacked while it is read; ParseError where it is damaged."""

    def __init__(self, archive: pyzipper.AESZipFile, info: pyzipper.ZipInfo) -> None:
        super().__init__(None, _path(info))
        self.archive, self.info = archive, info

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        try:
            with self.archive.open(self.info) as stream:
                # ZipFile never reads past the size the archive declares.
                while piece := stream.read(chunk_size or self.DEFAULT_CHUNK_SIZE):
                    yield piece
        except BROKEN as error:  # also NotImplementedError, which is a RuntimeError
            raise _damaged_member() from error
        except RuntimeError as error:
            raise ParseError(_("The password does not open the file."), permanent=True) from error


@dataclass(frozen=True)
class Member:
    path: str  # relative, with "/", as the person who packed it named it
    file: File


def members(archive: File, password: str = "") -> Iterator[Member]:
    """The files of a zip in its order, without folders and what operating systems add.

    Raises ParseError, before the first file, when the archive is broken, locked or too large;
    what is wrong with a single file shows when that is read.
    """
    try:
        with pyzipper.AESZipFile(cast("IO[bytes]", archive)) as opened:
            infos = [info for info in opened.infolist() if _wanted(info)]
            _check(infos, password)
            if password:
                opened.setpassword(password.encode())
            for info in infos:
                yield Member(_path(info), Packed(opened, info))
    except BROKEN as error:
        raise _damaged() from error


def _damaged() -> ParseError:
    return ParseError(_("This zip file is damaged, or not a zip file."), permanent=True)


def _damaged_member() -> ParseError:
    return ParseError(_("This file is damaged inside the zip file."), permanent=True)


def _check(infos: list[pyzipper.ZipInfo], password: str) -> None:
    if not infos:
        raise ParseError(_("There is no file in this zip file."), permanent=True)
    if any(info.flag_bits & ENCRYPTED for info in infos) and not password:
        raise ParseError(_("This zip file has a password: give it."), permanent=True)
    limit = settings.UPLOAD_MAX_BYTES * MAX_TIMES_UPLOAD
    if len(infos) > MAX_FILES or sum(info.file_size for info in infos) > limit:
        message = _("This zip file holds more than %(files)d files or %(megabytes)d MB unpacked.")
        limits = {"files": MAX_FILES, "megabytes": limit // 1024**2}
        raise ParseError(message % limits, permanent=True)


def _wanted(info: pyzipper.ZipInfo) -> bool:
    parts = PurePosixPath(_path(info)).parts
    if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
        return False
    return not any(p.startswith(".") or p == "__MACOSX" for p in parts)


def _path(info: pyzipper.ZipInfo) -> str:
    """The name as it was meant: UTF-8 or, of Chinese Windows, GBK, whatever the flag says."""
    name = info.filename
    if not info.flag_bits & UTF8:
        raw = name.encode("cp437")
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            name = raw.decode("gb18030", errors="replace")
    parts = [part for part in name.replace("\\", "/").split("/") if part not in {"", ".", ".."}]
    return "/".join(parts)

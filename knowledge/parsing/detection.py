"""What a file is, by its bytes. Reads no more of it than it must and runs no parser."""

import codecs
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePath

import olefile

from knowledge.parsing.unreadable import Reason, Unreadable

OOXML = "application/vnd.openxmlformats-officedocument."
ODF = "application/vnd.oasis.opendocument."

# The media type and what DocVortex calls the format.
OFFICE = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.ms-excel": "xls",
    f"{OOXML}wordprocessingml.document": "docx",
    f"{OOXML}presentationml.presentation": "pptx",
    f"{OOXML}spreadsheetml.sheet": "xlsx",
    f"{ODF}text": "odt",
    f"{ODF}spreadsheet": "ods",
    f"{ODF}presentation": "odp",
    "application/epub+zip": "epub",
    "application/ofd": "ofd",
    "application/rtf": "rtf",
    "text/html": "html",
    "multipart/related": "mhtml",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
}
PICTURES = {
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/bmp",
    "image/tiff",
    "image/webp",
}
TEXTS = {"text/markdown", "text/plain"}
# An Office file with a password; what it is shows once it is opened.
ENCRYPTED_OFFICE = "application/encrypted-office"
EML = "message/rfc822"
MSG = "application/vnd.ms-outlook"
LOCKABLE = {ENCRYPTED_OFFICE, "application/pdf"}

_TEXT_READ = 4 * 1024 * 1024  # bytes, even
_HEAD = 4096
_PICTURE_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)
_REFUSED_MAGIC: tuple[tuple[bytes, Reason], ...] = (
    (b"MZ", "executable"),
    (b"\x7fELF", "executable"),
    (b"\xcf\xfa\xed\xfe", "executable"),
    (b"\xca\xfe\xba\xbe", "executable"),
    (b"Rar!", "archive"),
    (b"7z\xbc\xaf\x27\x1c", "archive"),
    (b"\x1f\x8b", "archive"),
    (b"BZh", "archive"),
    (b"\xfd7zXZ\x00", "archive"),
    (b"\x28\xb5\x2f\xfd", "archive"),
    (b"MSCF", "archive"),
    (b"ID3", "media"),
    (b"OggS", "media"),
    (b"fLaC", "media"),
    (b"\x1aE\xdf\xa3", "media"),
    (b"\x00\x00\x01\xba", "media"),
)
# By the name, among formats that are all text.
_TEXT_SUFFIXES = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".mdx": "text/markdown",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".htm": "text/html",
    ".html": "text/html",
    ".xhtml": "text/html",
}
_BINARY_SUFFIXES = {
    ".doc", ".docx", ".docm", ".ppt", ".pptx", ".pptm", ".xls", ".xlsx", ".xlsm", ".xlsb",
    ".odt", ".ods", ".odp", ".ofd", ".epub", ".pdf", ".rtf", ".zip", ".rar", ".7z",
    ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp",
}  # fmt: skip
_ANY_HEADER = re.compile(rb"\A[A-Za-z][\w-]*:[ \t\r\n]")
_MAIL_HEADER = re.compile(
    rb"\A(?:[\w-]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*?(?:From|Received|Return-Path):"
)


def detect(path: Path, name: str) -> str:
    """The media type of the file, one of OFFICE, PICTURES, TEXTS, EML, MSG or
    ENCRYPTED_OFFICE.

    Raises Unreadable when it is none of them, empty, a trap, or locked in a way we cannot open.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head.strip(b"\x00"):
        raise Unreadable("empty")
    if b"%PDF-" in head[:1024]:
        return "application/pdf"
    if head.startswith(olefile.MAGIC):
        return _ole(path)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return _zip(path)
    return picture(head) or _text(path, head, PurePath(name).suffix.lower())


def picture(head: bytes) -> str | None:
    """The media type of what begins like a picture, None for what may be text. Raises Unreadable
    for what is neither."""
    for magic, reason in _REFUSED_MAGIC:
        if head.startswith(magic):
            raise Unreadable(reason)
    if head[257:262] == b"ustar":
        raise Unreadable("archive")
    if head[4:8] == b"ftyp":
        is_still = head[8:12] in {b"heic", b"heix", b"mif1", b"avif"}
        raise Unreadable("picture_format" if is_still else "media")
    if head.startswith(b"RIFF"):
        if head[8:12] == b"WEBP":
            return "image/webp"
        raise Unreadable("media")
    return next((kind for magic, kind in _PICTURE_MAGIC if head.startswith(magic)), None)


def _text(path: Path, head: bytes, suffix: str) -> str:
    if head.lstrip().startswith(b"{\\rtf"):
        return "application/rtf"
    if _is_mail(head, suffix):
        return EML
    start = decode(_beginning(path))[:_HEAD].lstrip().lower()
    if not start:
        raise Unreadable("empty")
    if suffix in {".mht", ".mhtml"} and "content-type: multipart/related" in start:
        return "multipart/related"
    if suffix == ".mbox":
        raise Unreadable("mailbox")
    if suffix == ".svg":
        raise Unreadable("picture_format")
    if start.startswith(("<!doctype html", "<html")):
        return "text/html"
    if suffix in _BINARY_SUFFIXES:
        raise Unreadable("wrong_extension")
    return _TEXT_SUFFIXES.get(suffix, "text/plain")


def _beginning(path: Path) -> bytes:
    """Enough lines to know a text by; a short file as a whole."""
    with path.open("rb") as file:
        data = file.read(_TEXT_READ)
    if len(data) < _TEXT_READ or data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data
    return data[: data.rfind(b"\n") + 1] or path.read_bytes()


def _is_mail(head: bytes, suffix: str) -> bool:
    """By its header; that of a web page saved whole looks the same."""
    if suffix in {".mht", ".mhtml"}:
        return False
    header = _ANY_HEADER if suffix == ".eml" else _MAIL_HEADER
    return header.match(head) is not None


def decode(data: bytes) -> str:
    """Text in UTF-8, UTF-16 (with its mark) or GB18030. Raises Unreadable for anything else."""
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "gb18030"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if _readable(text):
            return text
    raise Unreadable("unknown")


def _readable(text: str) -> bool:
    """Random bytes often pass for GB18030, but are full of control and private-use characters."""
    sample = text[:65536]
    strange = len(re.findall("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f\ue000-\uf8ff\ufffd]", sample))
    return strange * 200 <= len(sample)


# --- OLE: Office 97–2003, and every encrypted Office file ------------------------


def _ole(path: Path) -> str:
    try:
        with olefile.OleFileIO(path) as ole:
            return _ole_type(ole)
    except (OSError, ValueError, IndexError, OverflowError) as error:
        raise Unreadable("broken") from error


def _ole_type(ole: olefile.OleFileIO) -> str:
    if ole.exists("EncryptedPackage"):
        return ENCRYPTED_OFFICE
    if ole.exists("WordDocument"):
        header = ole.openstream("WordDocument").read(12)
        if header[11:] and header[11] & 0x01:  # FIB.fEncrypted, [MS-DOC] 2.5.2
            return ENCRYPTED_OFFICE
        return "application/msword"
    for stream in ("Workbook", "Book"):
        if ole.exists(stream):
            if _has_filepass(ole.openstream(stream).read(_HEAD)):
                return ENCRYPTED_OFFICE
            return "application/vnd.ms-excel"
    if ole.exists("PowerPoint Document"):
        if ole.exists("Current User") and ole.openstream("Current User").read(16)[12:] == _SEALED:
            raise Unreadable("locked")  # no library opens these so that they can be read
        return "application/vnd.ms-powerpoint"
    if ole.exists("__properties_version1.0"):
        return MSG
    raise Unreadable("office_format")


_SEALED = b"\xdf\xc4\xd1\xf3"  # headerToken, [MS-PPT] 2.3.2


def _has_filepass(workbook: bytes) -> bool:
    """Whether a FILEPASS record follows the first BOF, [MS-XLS] 2.4.117."""
    position = 0
    while position + 4 <= len(workbook):
        kind = int.from_bytes(workbook[position : position + 2], "little")
        if kind == 0x2F:
            return True
        if kind == 0x0A:  # end of the globals
            return False
        position += 4 + int.from_bytes(workbook[position + 2 : position + 4], "little")
    return False


# --- Zip containers ---------------------------------------------------------------

MAX_MEMBERS = 20_000
MAX_UNPACKED = 1024**3
# Office XML rarely shrinks more than thirtyfold; small files may.
MAX_RATIO = 150
FREE_BYTES = 30 * 1024**2
# What zipfile and its decompressors say of damaged archives; ValueError of names and sizes.
BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    NotImplementedError,
    ValueError,
)


def _zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            check_expansion(archive, path.stat().st_size)
            return _zip_type(archive)
    except BROKEN_ZIP as error:
        raise Unreadable("broken") from error
    except RuntimeError as error:  # zipfile: a member is encrypted
        raise Unreadable("locked") from error


def check_expansion(archive: zipfile.ZipFile, packed: int) -> None:
    """Refuse an archive that would unpack to far more than it is, before anything unpacks it.

    Declared sizes may lie; the subprocess's limits hold then.
    """
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or unpacked > MAX_UNPACKED:
        raise Unreadable("bomb")
    if unpacked > FREE_BYTES and unpacked > packed * MAX_RATIO:
        raise Unreadable("bomb")


def _zip_type(archive: zipfile.ZipFile) -> str:
    names = set(archive.namelist())
    for member, kind in (
        ("word/document.xml", f"{OOXML}wordprocessingml.document"),
        ("ppt/presentation.xml", f"{OOXML}presentationml.presentation"),
        ("xl/workbook.xml", f"{OOXML}spreadsheetml.sheet"),
    ):
        if member in names:
            _refuse_entities(archive)
            return kind
    if "OFD.xml" in names:
        return "application/ofd"
    if "mimetype" in names:
        kind = archive.read("mimetype")[:100].decode("ascii", "replace").strip()
        return _open_document(archive, kind.removesuffix("-template"))
    if "[Content_Types].xml" in names or "Index/Document.iwa" in names:
        raise Unreadable("office_format")
    raise Unreadable("archive")


def _open_document(archive: zipfile.ZipFile, kind: str) -> str:
    if kind.startswith(ODF) and b"encryption-data" in _manifest(archive):
        raise Unreadable("locked")
    if kind not in OFFICE:
        raise Unreadable("office_format")
    return kind


def _manifest(archive: zipfile.ZipFile) -> bytes:
    try:
        return archive.read("META-INF/manifest.xml")
    except KeyError:
        return b""


def _refuse_entities(archive: zipfile.ZipFile) -> None:
    """Office Open XML has no document types; one that declares entities is an attack."""
    for start in _xml_starts(archive):
        if b"<!DOCTYPE" in start or b"<!ENTITY" in start:
            raise Unreadable("entities")


def _xml_starts(archive: zipfile.ZipFile) -> Iterator[bytes]:
    for member in archive.infolist():
        if member.filename.endswith((".xml", ".rels")):
            with archive.open(member) as file:
                yield file.read(2048)

"""Files inside Office files: a Word document on a slide, an attachment in a sheet."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import olefile

from knowledge.parsing import detection, office, plaintext
from knowledge.parsing.document import Block, ParsedDocument
from knowledge.parsing.nested import STUMBLES
from knowledge.parsing.package import Package
from knowledge.parsing.unreadable import Unreadable

MOST = 20  # files of one document
LARGEST = 20 * 1024**2  # bytes of one
_HOSTS = ("ppt/slides/slide", "word/document", "xl/worksheets/sheet")
_NATIVE = "\x01Ole10Native"
# Formulas of the old equation editors are read as formulas.
_EQUATION = "Equation Native"

Reader = Callable[[bytes, str], ParsedDocument]


def read(parsed: ParsedDocument, data: bytes, reader: Reader) -> None:
    """Put their blocks at the end of the page that holds them, below the file's name."""
    unread = []
    package = Package(data)
    pages = office.pages(package, parsed)
    for number, (host, name, inner) in enumerate(_files(package)):
        try:
            if number >= MOST:
                raise Unreadable("limits")
            made = _made(inner, name, reader)
        except (Unreadable, *STUMBLES):
            unread.append(name)
            continue
        _append(parsed, made, name, pages.get(host))
    if unread:
        parsed.warnings.append(f"attachments_unread:{', '.join(dict.fromkeys(unread))}")


def _append(parsed: ParsedDocument, made: ParsedDocument, name: str, page: int | None) -> None:
    if not made.blocks:
        return
    blocks = [Block("heading", name, level=3, page=page)]
    for block in made.blocks:
        block.page, block.box, block.first_row, block.first_column = page, None, None, None
        block.level = (block.level or 1) + 3 if block.kind == "heading" else None
        block.asset = None if block.asset is None else block.asset + len(parsed.assets)
        blocks.append(block)
    for asset in made.assets:
        asset.page, asset.box = page, None
    parsed.assets += made.assets
    after = [i for i, block in enumerate(parsed.blocks, 1) if (block.page or 0) <= (page or 10**9)]
    parsed.blocks[max(after, default=0) : max(after, default=0)] = blocks


def _files(package: Package) -> Iterator[tuple[str, str, bytes]]:
    """The part that holds it, the file's name and bytes."""
    for host in sorted(package.names):
        if not host.startswith(_HOSTS):
            continue
        for kind, part in package.links(host).values():
            if kind not in ("package", "oleObject") or part not in package.names:
                continue
            small = package.archive.getinfo(part).file_size <= LARGEST
            # What is too large or damaged is named as unread.
            data = package.data(part) if small else None
            if found := _unwrapped(PurePosixPath(part).name, data or b""):
                yield host, *found


def _unwrapped(name: str, data: bytes) -> tuple[str, bytes] | None:
    """A file that was attached lies in an OLE object with its own name; None for a formula."""
    if not data.startswith(olefile.MAGIC):
        return name, data
    try:
        with olefile.OleFileIO(data) as ole:
            if ole.exists(_EQUATION):
                return None
            if ole.exists("Package"):
                return name, ole.openstream("Package").read()
            if ole.exists(_NATIVE):
                return _native(ole.openstream(_NATIVE).read()) or (name, data)
    except (OSError, ValueError, IndexError):
        return name, data
    return name, data


def _native(stream: bytes) -> tuple[str, bytes] | None:
    """[MS-OLEDS] 2.3.6 holds, after flags, the label, two paths, and the file with its size."""
    label, at = _string(stream, 6)
    _path, at = _string(stream, at)
    length = int.from_bytes(stream[at + 4 : at + 8], "little")
    at += 8 + length
    size = int.from_bytes(stream[at : at + 4], "little")
    data = stream[at + 4 : at + 4 + size]
    return (label, data) if label and data else None


def _string(stream: bytes, start: int) -> tuple[str, int]:
    end = stream.find(b"\0", start)
    if end < 0:
        return "", len(stream)
    raw = stream[start:end]
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding), end + 1
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1"), end + 1


def _made(data: bytes, name: str, reader: Reader) -> ParsedDocument:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        kind = detection.detect(Path(file.name), name)
    if kind in detection.TEXTS:
        return plaintext.parse(detection.decode(data), name)
    if kind == "application/pdf" or kind not in detection.OFFICE:
        raise Unreadable("unknown")
    return reader(data, detection.OFFICE[kind])

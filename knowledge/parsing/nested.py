"""A file found inside another: detected and parsed like any, in the process we are in."""

import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from knowledge.parsing import detection, markdown, plaintext, worker
from knowledge.parsing.document import ParsedDocument
from knowledge.parsing.unreadable import Unreadable

# What parsers and the libraries under them stumble over in a damaged file.
STUMBLES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,  # lxml's, too
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)


def parse(data: bytes, name: str, seconds: float) -> ParsedDocument:
    """Raises Unreadable, also when the inner file is locked by itself."""
    kind = detect(data, name)
    if kind == detection.ENCRYPTED_OFFICE:
        raise Unreadable("locked")
    if kind not in detection.TEXTS:
        try:
            return worker.parse(kind, data, None, seconds)
        except STUMBLES as error:
            raise Unreadable("broken") from error
    text = detection.decode(data)
    return markdown.parse(text) if kind == "text/markdown" else plaintext.parse(text, name)


def detect(data: bytes, name: str) -> str:
    """The media type by content."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(data)
        return detection.detect(path, name)

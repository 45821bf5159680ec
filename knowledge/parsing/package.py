"""An Office Open XML package from a stranger: its parts, and which leads to which."""

import io
import posixpath
import re
import zipfile
from typing import NamedTuple

from lxml import etree

from knowledge.parsing.detection import BROKEN_ZIP

MAX_PART = 64 * 1024**2  # bytes of XML; more is no text that somebody wrote
_PARSER = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, recover=True, remove_comments=True
)


class Link(NamedTuple):
    kind: str  # "chart", "notesSlide", …: the end of the relationship's type
    part: str  # name of the part that it leads to


class Package:
    """Parts that are missing, damaged or too large are None."""

    def __init__(self, data: bytes) -> None:
        self.archive = zipfile.ZipFile(io.BytesIO(data))
        self.names = set(self.archive.namelist())

    def data(self, part: str) -> bytes | None:
        if part not in self.names or self.archive.getinfo(part).file_size > MAX_PART:
            return None
        try:
            return self.archive.read(part)
        except BROKEN_ZIP:  # the rest may still be read
            return None

    def xml(self, part: str) -> etree._Element | None:
        data = self.data(part)
        return etree.fromstring(data, _PARSER) if data else None

    def links(self, part: str) -> dict[str, Link]:
        """Where the ids in `part` lead to, within the package."""
        folder, name = posixpath.split(part)
        root = self.xml(f"{folder}/_rels/{name}.rels")
        found = {}
        for link in root if root is not None else ():
            target = link.get("Target", "")
            if link.get("TargetMode") != "External" and target:
                path = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
                kind = re.split(r"[/\\]", link.get("Type", ""))[-1]
                found[link.get("Id", "")] = Link(kind, path)
        return found


def name(element: etree._Element) -> str:
    """The tag without its namespace, empty for what is no element."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: etree._Element, wanted: str) -> str:
    """The value of an attribute by its name without the namespace."""
    for key, value in element.attrib.items():
        if str(key).rpartition("}")[2] == wanted:
            return str(value)
    return ""

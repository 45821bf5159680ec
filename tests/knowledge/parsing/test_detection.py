import io
import zipfile

import pytest

from knowledge.parsing import detection, media_type
from opsdesk.errors import ParseError
from tests.knowledge.parsing import files

ODT = b"application/vnd.oasis.opendocument.text"


def reason(path, name=None):
    with pytest.raises(detection.Unreadable) as refusal:
        detection.detect(path, name or path.name)
    return refusal.value.reason


def damaged(compression, old, new):
    """A Word file with `new` instead of `old` somewhere in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("word/document.xml", "<w:document/>" * 50)
        archive.writestr("图.xml", "")
    assert old in buffer.getvalue()
    return buffer.getvalue().replace(old, new)


@pytest.mark.parametrize(
    "data",
    [
        damaged(zipfile.ZIP_LZMA, b"\x5d\x00", b"\xff\x00"),
        damaged(zipfile.ZIP_STORED, "图".encode(), b"\xff\xfe\xfd"),
    ],
)
def test_whatever_is_damaged_in_an_archive_is_called_so(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    assert reason(path, "坏.docx") == "broken"


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("空.docx", b"", "empty"),
        ("空白.txt", "\ufeff \n\u3000".encode(), "empty"),
        ("零.txt", b"\0" * 100, "empty"),
        ("报告.pdf", b"MZ\x90\0" + b"\0" * 60, "executable"),
        ("程序", b"\x7fELF\x02\x01" + b"\0" * 60, "executable"),
        ("备份.docx", b"\x1f\x8b\x08" + b"\0" * 60, "archive"),
        ("会议.pdf", b"\0\0\0\x18ftypmp42" + b"\0" * 60, "media"),
        ("照片.jpg", b"\0\0\0\x18ftypheic" + b"\0" * 60, "picture_format"),
        ("随机.pdf", bytes(range(256)) * 4, "unknown"),
        ("说明.docx", "其实是文本".encode(), "wrong_extension"),
        ("全部.mbox", b"From a@example.com Sat\nSubject: x\n\nhello", "mailbox"),
        ("坏.docx", b"PK\x03\x04" + b"\x01" * 100, "broken"),
        ("坏.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x01" * 600, "broken"),
    ],
)
def test_what_is_no_document_is_named(tmp_path, name, data, expected):
    path = tmp_path / "file"
    path.write_bytes(data)
    assert reason(path, name) == expected


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.md", b"# x", "text/markdown"),
        ("a.csv", b"a,b\n1,2", "text/csv"),
        ("信.txt", b"Received: from a\nFrom: b@example.com\n\nhello", "message/rfc822"),
        ("信.eml", b"Subject: x\n\nhello", "message/rfc822"),
        ("a.conf", b"[main]\na=1", "text/plain"),
        ("a.txt", b"<!DOCTYPE html><html></html>", "text/html"),
        ("a.txt", b"{\\rtf1 x}", "application/rtf"),
        ("a.txt", b"%PDF-1.7", "application/pdf"),
        ("a.pdf", b"\x89PNG\r\n\x1a\n\0\0", "image/png"),
        ("a", b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        ("日志.txt", "磁盘已满".encode("gb18030"), "text/plain"),
        ("日志.txt", "磁盘已满".encode("utf-16"), "text/plain"),
    ],
)
def test_the_content_decides_and_the_name_only_among_text(tmp_path, name, data, expected):
    path = tmp_path / "file"
    path.write_bytes(data)
    assert detection.detect(path, name) == expected


def test_office_files_are_known_by_their_members(tmp_path):
    files.docx(tmp_path / "a.bin")
    files.xlsx(tmp_path / "b.bin")
    files.pptx(tmp_path / "c.bin")
    found = [
        detection.OFFICE[detection.detect(tmp_path / name, name)]
        for name in ("a.bin", "b.bin", "c.bin")
    ]
    assert found == ["docx", "xlsx", "pptx"]


def test_protected_office_files(tmp_path):
    files.ole(tmp_path / "a.xlsx", "EncryptedPackage")
    assert detection.detect(tmp_path / "a.xlsx", "a.xlsx") == detection.ENCRYPTED_OFFICE
    files.ole(tmp_path / "b.doc", "PowerPoint Document")
    assert detection.detect(tmp_path / "b.doc", "b.doc") == "application/vnd.ms-powerpoint"
    manifest = b"<manifest><encryption-data/></manifest>"
    files.archive(tmp_path / "c.odt", {"mimetype": ODT, "META-INF/manifest.xml": manifest})
    assert reason(tmp_path / "c.odt") == "locked"
    assert detection._has_filepass(b"\x09\x08\x02\0\0\0\x2f\0\x02\0\0\0")
    assert not detection._has_filepass(b"\x09\x08\x02\0\0\0\x0a\0\0\0\x2f\0")


def test_bombs_are_refused_before_they_unpack(tmp_path):
    path = tmp_path / "a.xlsx"
    files.archive(path, {"xl/workbook.xml": b"<x/>", "xl/sharedStrings.xml": b"0" * 60_000_000})
    assert reason(path) == "bomb"
    files.archive(path, {"xl/workbook.xml": b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'})
    assert reason(path) == "entities"
    files.archive(path, {str(number): b"" for number in range(detection.MAX_MEMBERS + 1)})
    assert reason(path) == "bomb"


def test_an_archive_is_no_document(tmp_path):
    files.archive(tmp_path / "手册.docx", {"a.md": b"# a"})
    assert reason(tmp_path / "手册.docx") == "archive"


def test_a_person_gets_a_sentence(tmp_path):
    path = tmp_path / "a.docx"
    path.write_bytes(b"")
    with pytest.raises(ParseError, match="文件是空的") as error:
        media_type(path, path.name)
    assert error.value.permanent

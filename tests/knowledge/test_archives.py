import io
import stat
import zipfile

import pytest
import pyzipper
from django.core.files.base import ContentFile

from knowledge import archives, uploading
from knowledge.models import Document, KnowledgeBase, Status
from opsdesk.errors import ParseError

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    return settings.MEDIA_ROOT


@pytest.fixture
def base():
    return KnowledgeBase.objects.create(slug="ops", name="Ops")


def zipped(members, flag=0):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return ContentFile(buffer.getvalue())


def test_an_archive_brings_its_files_under_their_paths(base):
    archive = zipped(
        {
            "手册/重启.md": "# 重启\n\n步骤",
            "手册/日志.txt": "日志在 /var/log",
            "inner.zip": zipped({"a.md": "# a"}).read(),
            "../../outside.md": "# 外面",
            "__MACOSX/._a": "x",
            ".DS_Store": "x",
        }
    )
    added = {
        row.document.external_id: row for row in uploading.add_archive(base, archive, approved=True)
    }
    assert set(added) == {"手册/重启.md", "手册/日志.txt", "inner.zip", "outside.md"}
    assert added["inner.zip"].revision.status == Status.FAILED  # no archive within an archive
    assert added["手册/重启.md"].document.title == "重启"
    assert {row.document.origin for row in added.values()} == {Document.Origin.INGEST}


def test_chinese_windows_names_are_read_right(base):
    content = zipped({"PLACEHOLD.txt": "正文"}).read()
    # What Explorer in Chinese writes: GBK bytes, no UTF-8 flag. Both names have 13 bytes.
    gbk = "运维手册1.txt".encode("gb18030")
    assert len(gbk) == len("PLACEHOLD.txt")
    archive = ContentFile(content.replace(b"PLACEHOLD.txt", gbk))
    assert [member.path for member in archives.members(archive)] == ["运维手册1.txt"]


@pytest.mark.parametrize(
    "archive",
    [
        ContentFile(b"PK\x03\x04 not really"),
        ContentFile(b"plain text"),
        zipped({}),
        zipped({f"{n}.txt": "x" for n in range(archives.MAX_FILES + 1)}),
    ],
)
def test_bad_archives_are_refused_with_a_sentence(base, archive):
    with pytest.raises(ParseError) as caught:
        list(uploading.add_archive(base, archive, approved=True))
    assert len(str(caught.value)) > 5
    assert not Document.objects.exists()


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(base, settings):
    settings.UPLOAD_MAX_BYTES = 1024
    with pytest.raises(ParseError):
        list(archives.members(zipped({"bomb.txt": "0" * 20_000})))


def added(base, archive, **options):
    rows = uploading.add_archive(base, archive, approved=True, **options)
    return {row.document.external_id: row.revision for row in rows}


@pytest.mark.parametrize("where", ["local header", "content"])
def test_a_damaged_file_in_an_archive_loses_none_of_the_others(base, where):
    whole = zipped({"a.md": "# 好", "b.md": "# 坏" * 50, "c.md": "# 也好"}).read()
    place = whole.index(b"b.md") + (-30 if where == "local header" else 10)
    rows = added(base, ContentFile(whole[:place] + b"\xff\xff" + whole[place + 2 :]))
    assert [row.status for row in rows.values()] == [Status.QUEUED, Status.FAILED, Status.QUEUED]
    assert len(rows["b.md"].error) > 5 and not rows["b.md"].file


def test_what_is_packed_in_another_way_says_nothing_of_passwords(base):
    packed = bytearray(zipped({"a.md": "# 好" * 50}).read())
    packed[8] = packed[packed.index(b"PK\x01\x02") + 10] = 9  # Deflate64, of large files
    (revision,) = added(base, ContentFile(bytes(packed))).values()
    assert revision.status == Status.FAILED and "密码" not in revision.error


def test_a_link_in_an_archive_is_not_followed(base):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("passwd.md")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a.md", "# a")
    assert list(added(base, ContentFile(buffer.getvalue()))) == ["a.md"]


def test_an_archive_that_lies_about_sizes_gives_no_more_than_it_says(base):
    whole = bytearray(zipped({"a.md": "# a\n" + "x" * 5000}).read())
    size = (5004).to_bytes(4, "little")
    while (place := whole.find(size)) >= 0:
        whole[place : place + 4] = (10).to_bytes(4, "little")
    assert added(base, ContentFile(bytes(whole)))["a.md"].status == Status.FAILED


# ZipCrypto with the password "geheim": Python reads it and cannot write it.
LOCKED = bytes.fromhex(
    "504b0304140001080000000021585ebc23fa2e0000002200000004000000612e6d64d8b47982a911d492146d"
    "a115800347476b986440b2b6a9afd8a2b0892027fd19b22a7395d49f58ecd24e1a0c69e5504b010214001400"
    "01080000000021585ebc23fa2e00000022000000040000000000000000000000000000000000612e6d64504b"
    "0506000000000100010032000000500000000000"
)


def test_a_locked_archive_asks_for_its_password(base):
    with pytest.raises(ParseError, match="密码"):
        added(base, ContentFile(LOCKED))
    wrong = added(base, ContentFile(LOCKED), password="falsch")["a.md"]
    assert wrong.status == Status.FAILED and "密码" in wrong.error
    right = added(base, ContentFile(LOCKED), password="geheim")["a.md"]
    assert right.file.read().decode() == "# 重启\n\nsystemctl restart nginx\n"


def test_an_archive_locked_by_aes_asks_for_its_password_as_well(base):
    buffer = io.BytesIO()
    with pyzipper.AESZipFile(
        buffer, "w", compression=pyzipper.ZIP_DEFLATED, encryption=pyzipper.WZ_AES
    ) as archive:
        archive.setpassword(b"geheim")
        archive.writestr("a.md", "# 重启".encode())
    locked = buffer.getvalue()
    with pytest.raises(ParseError, match="密码"):
        added(base, ContentFile(locked))
    wrong = added(base, ContentFile(locked), password="falsch")["a.md"]
    assert wrong.status == Status.FAILED and "密码" in wrong.error
    damaged = bytearray(locked)
    damaged[60] ^= 1
    (row,) = added(base, ContentFile(bytes(damaged)), password="geheim").values()
    assert row.status == Status.FAILED and row.error
    right = added(base, ContentFile(locked), password="geheim")["a.md"]
    assert right.file.read().decode() == "# 重启"

"""A knowledge base goes out as one file and comes back the same, or not at all."""

import hashlib
import io
import json
import zipfile
from datetime import date

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django_q.models import OrmQ

from knowledge import confirmed, curating, entries, indexing, retrieval, tasks, transfer, uploading
from knowledge.models import (
    Attachment,
    Chunk,
    Document,
    Entry,
    KnowledgeBase,
    Revision,
    Source,
    Status,
    Term,
)
from knowledge.parsing.document import Asset, Block, ParsedDocument
from knowledge.sources import running
from tests.knowledge.test_uploading import add, stored

pytestmark = pytest.mark.django_db
QUESTIONS = [
    "怎么重启 nginx",
    "磁盘满了怎么办",
    "哨兵 failover-timeout",
    "备份在哪里",
    "没有的东西",
]
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    return settings.MEDIA_ROOT


@pytest.fixture
def base():
    """Something of everything an export holds."""
    curator = User.objects.create(username="curator")
    base = KnowledgeBase.objects.create(slug="ops", name="运维", audience="visitors")
    source = Source.objects.create(
        knowledge_base=base, kind="folder", name="共享", secret="sealed", options={"path": "/a"}
    )
    for n, text in enumerate(
        ["重启 nginx", "磁盘满了，清理日志", "哨兵 failover-timeout 默认三分钟"]
    ):
        added = add(
            base, f"# 手册 {n}\n\n{text}，步骤见下。\n", external_id=f"d/{n}", user=curator,
            source=source, product="网关", tags=["网络"], expires_on=date(2090, 1, 1),
        )  # fmt: skip
        tasks.process(added.revision.pk)
    pictured = Document.objects.get(external_id="d/0")
    shown = [Asset("picture", "图 1", "拓扑", media_type="image/png", data=PICTURE),
             Asset("table", html="<table><tbody><tr><td>甲</td></tr></tbody></table>")]  # fmt: skip
    indexing.put(
        pictured.current,
        ParsedDocument(
            blocks=[Block("paragraph", "重启 nginx 用 systemctl。", asset=0)], assets=shown
        ),
    )
    edited = Chunk.objects.get(document__external_id="d/1")
    curating.edit(edited.pk, user=curator, text="磁盘满了，先用 df -h。", questions=["空间不足"])
    curating.set_enabled(Chunk.objects.filter(document__external_id="d/2"), False, curator)
    uploading.retire(Document.objects.filter(external_id="d/2"), "gone")
    add(base, b"\x7fELF\x02\x01\x01" + bytes(60), name="x.bin")
    add(base, "还没有读", external_id="queued")
    Term.objects.create(knowledge_base=base, canonical="nginx", variants=["反代"])
    confirmed.confirm(base, "盘满了咋办", edited.document, "label", chunk=edited, user=curator)
    Entry.objects.create(
        knowledge_base=base, question="备份在哪里", answer="/data", state="published",
        document=Document.objects.get(external_id="d/1"), decided_by=curator,
    )  # fmt: skip
    Entry.objects.create(knowledge_base=base, question="草稿", context=[{"who": "a", "text": "b"}])
    return base


def exported(base):
    file = io.BytesIO()
    transfer.export(base, file)
    file.seek(0)
    return file


def found(base):
    return [
        [(p.external_id, p.text, round(p.score, 6)) for p in retrieval.search(q, [base]).passages]
        for q in QUESTIONS
    ]


def contents(base):
    """All that is to come over, without ids."""
    documents = [
        (d.title, d.external_id, d.origin, d.product, d.tags, d.expires_on, d.approved_at,
         d.retired_at, d.retired_reason, d.created_by, d.approved_by,
         d.current and d.current.parsed, d.latest.name, d.latest.sha256, d.latest.error,
         d.latest.file and d.latest.file.read(), d.source.name if d.source else "")
        for d in base.documents.order_by("pk")
    ]  # fmt: skip
    chunks = list(base.chunks.order_by("document", "position").values_list(*transfer.CHUNK))
    shown = [
        (a.kind, a.number, a.caption, a.html, a.file and a.file.read(), a.chunks.count())
        for a in Attachment.objects.filter(revision__document__knowledge_base=base)
    ]
    entries = list(base.entries.order_by("pk").values_list(*transfer.ENTRY, "document__title"))
    pairs = list(base.pairs.values_list("question", "origin", "dropped", "document__title", "user"))
    terms = list(base.synonyms.values_list(*transfer.TERM))
    return documents, chunks, shown, entries, pairs, terms


def test_what_comes_back_is_the_same_and_finds_the_same(base):
    before, answers = contents(base), found(base)
    assert answers[0] and answers[1]
    OrmQ.objects.all().delete()
    other = transfer.restore(exported(base), slug="copy")
    assert contents(other) == before
    assert found(other) == answers
    assert (other.name, other.audience) == ("运维", "visitors")
    assert indexing.drift() == 0 and indexing.recount(other) == 0
    # What waited to be read waits here too, and only that.
    waiting = Revision.objects.unfinished().get(document__knowledge_base=other)
    assert [task.args() for task in OrmQ.objects.all()] == [(waiting.pk,)]
    tasks.process(waiting.pk)
    assert Revision.objects.get(pk=waiting.pk).status == Status.READY
    source = other.sources.get()
    assert (source.enabled, source.secret, source.options) == (False, "", {"path": "/a"})


def test_what_sources_and_entries_bring_later_finds_its_documents(base):
    source = base.sources.get()
    fetched = add(base, "页面", external_id=running.external_id(source.pk, "a.md"), source=source)
    old = Entry.objects.create(knowledge_base=base, question="甲？", answer="答")
    entries.publish([old])
    first = transfer.restore(exported(base), slug="first")
    copy = first.sources.get()
    came = first.documents.get(latest__sha256=fetched.revision.sha256)
    assert came.external_id == running.external_id(copy.pk, "a.md")
    published = first.entries.get(question="甲？")
    assert published.document.external_id == f"faq:{published.pk}"
    # An entry with the number that another had where it came from.
    Entry.objects.filter(knowledge_base=base).delete()
    entry = Entry.objects.create(pk=old.pk, knowledge_base=first, question="乙？", answer="答")
    assert entries.publish([entry]) == 1


def test_it_comes_back_where_nobody_is_known(base):
    file, texts = exported(base), set(base.chunks.values_list("text", flat=True))
    uploading.delete(base.documents.all())
    base.delete()
    User.objects.all().delete()
    other = transfer.restore(file)
    assert other.slug == "ops" and set(other.chunks.values_list("text", flat=True)) == texts
    assert not Document.objects.exclude(created_by=None).exists()


def test_the_same_slug_twice_is_said(base):
    with pytest.raises(transfer.TransferError, match="ops"):
        transfer.restore(exported(base))


def changed(file, change):
    """The export with its members changed by `change(members)`, the manifest parsed."""
    with zipfile.ZipFile(file) as packed:
        members = {info.filename: packed.read(info) for info in packed.infolist()}
    members["manifest.json"] = json.loads(members["manifest.json"])
    change(members)
    members["manifest.json"] = json.dumps(members["manifest.json"]).encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    made.seek(0)
    return made


def signed(members, name, content):
    members[name] = content
    members["manifest.json"]["sha256"][name] = hashlib.sha256(content).hexdigest()


def broken_row(members):
    rows = members["chunks.jsonl"].replace(b'"kind": "text"', b'"kind": ["x"]')
    signed(members, "chunks.jsonl", rows)


def swapped_file(members):
    name = next(name for name in members if name.startswith("files/"))
    members[name] = b"something else"


def missing_file(members):
    name = next(name for name in members if name.startswith("files/"))
    del members[name], members["manifest.json"]["sha256"][name]


DAMAGE = {
    "newer": lambda m: m["manifest.json"].update(format=99),
    "no manifest": lambda m: m.update({"manifest.json": {}}),
    "a changed row": lambda m: m.update({"chunks.jsonl": m["chunks.jsonl"].replace(b"df", b"rm")}),
    "a lost row": lambda m: signed(m, "terms.jsonl", b""),
    "no JSON": lambda m: signed(m, "entries.jsonl", b"{"),
    "deep JSON": lambda m: signed(m, "entries.jsonl", b"[" * 100_000),
    "a wrong kind": broken_row,
    "a swapped file": swapped_file,
    "a missing file": missing_file,
    "a path": lambda m: signed(m, "../../etc/passwd", b"x"),
    "an extra file": lambda m: m.update({"files/" + "0" * 64: b"x"}),
    "a bomb": lambda m: signed(m, "terms.jsonl", b" " * 20_000_000),
    "a name that leads out": lambda m: signed(
        m, "documents.jsonl", m["documents.jsonl"].replace(b'"position": 0', b'"position": "../x"')
    ),
    "no options": lambda m: signed(
        m, "sources.jsonl", m["sources.jsonl"].replace(b'{"path": "/a"}', b"5")
    ),
    "no digests": lambda m: m["manifest.json"].update(sha256=5),
    "no weights": lambda m: m["manifest.json"].update(means=5),
    "a bad address": lambda m: signed(
        m, "documents.jsonl", m["documents.jsonl"].replace(b'"url": ""', b'"url": "javascript:x"')
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_export_leaves_nothing_behind(base, files, damage):
    before = set(stored(files))
    with pytest.raises(transfer.TransferError) as refusal:
        transfer.restore(changed(exported(base), DAMAGE[damage]), slug="copy")
    assert len(str(refusal.value)) > 5
    assert not KnowledgeBase.objects.filter(slug="copy").exists()
    assert set(stored(files)) == before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04...", b"hello"])
def test_what_is_no_export_is_said(content):
    with pytest.raises(transfer.TransferError):
        transfer.look(io.BytesIO(content))


def test_a_locked_zip_is_no_export(base):
    packed = bytearray(exported(base).getvalue())
    place = packed.rfind(b"PK\x01\x02", 0, packed.rfind(b"manifest.json"))
    packed[place + 8] |= 1  # as if encrypted; in the file's own header, too
    place = packed.rfind(b"PK\x03\x04", 0, packed.find(b"manifest.json"))
    packed[place + 6] |= 1
    with pytest.raises(transfer.TransferError):
        transfer.look(io.BytesIO(bytes(packed)))


def test_tables_of_an_export_cannot_run_anything(base):
    def inject(members):
        evil = members["documents.jsonl"].replace(b"<td>", b"<td><script>alert(1)</script>")
        signed(members, "documents.jsonl", evil)

    other = transfer.restore(changed(exported(base), inject), slug="copy")
    shown = Attachment.objects.get(kind="table", revision__document__knowledge_base=other)
    assert "甲" in shown.html and "script" not in shown.html


def test_commands(base, tmp_path):
    file, out = tmp_path / "ops.zip", io.StringIO()
    call_command("export_base", "ops", file, stdout=out)
    call_command("import_base", file, slug="copy", stdout=out)
    assert KnowledgeBase.objects.get(slug="copy").chunks.count() == base.chunks.count()
    with pytest.raises(CommandError):
        call_command("export_base", "nowhere", file)
    with pytest.raises(CommandError, match="copy"):
        call_command("import_base", file, slug="copy")
    with pytest.raises(CommandError):
        call_command("import_base", tmp_path / "nothing.zip")


def test_progress_is_told(base, monkeypatch):
    for way in ("leaving", "coming"):
        monkeypatch.setattr(f"knowledge.transfer.{way}.BATCH", 2)
    told = []
    transfer.export(base, io.BytesIO(), lambda done, total: told.append((done, total)))
    assert told and all(0 < done <= total for done, total in told)

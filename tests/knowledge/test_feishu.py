"""Feishu documents, against a server that speaks its protocol."""

import hashlib
import io
import time
from base64 import urlsafe_b64encode

import docx
import openpyxl
import pytest

from knowledge import sources
from knowledge.models import Document, KnowledgeBase, Revision, Source
from knowledge.sources import feishu, running
from knowledge.sources import tasks as source_tasks
from opsdesk.errors import FetchError
from opsdesk.sealing import seal, unseal
from tests.knowledge.feishu_server import APP_ID, APP_SECRET, feishu_server

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def limits(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    settings.FETCH_PRIVATE, settings.FETCH_DELAY = ["127.0.0.1"], 0


@pytest.fixture
def server():
    with feishu_server() as server:
        yield server


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Seconds that it wanted to wait; it need not."""
    pauses = []
    real = feishu.Feishu.__init__

    def init(self, source):
        real(self, source)
        self.sleep = pauses.append

    monkeypatch.setattr(feishu.Feishu, "__init__", init)
    return pauses


@pytest.fixture
def base():
    return KnowledgeBase.objects.create(slug="ops", name="Ops")


def source(base, server, place="https://x.feishu.cn/wiki/space/7000", identity="app", **secrets):
    options = {
        "server": "other",
        "other_server": server.url,
        "app_id": APP_ID,
        "identity": identity,
        "place": place,
    }
    secret = seal({"app_secret": APP_SECRET, **secrets})
    return Source.objects.create(
        knowledge_base=base, kind="feishu", name="飞书", options=options, secret=secret
    )


def look(source):
    source_tasks.refresh(source)
    while running.run(source.pk):
        pass
    source.refresh_from_db()
    return source.runs.first()


def counts(run):
    return (run.added, run.changed, run.unchanged, run.retired, run.failed)


def word(*paragraphs):
    document = docx.Document()
    for text in paragraphs:
        document.add_paragraph(text)
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def sheet(*rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


@pytest.fixture
def wiki(server):
    top = server.add("a", "运维手册", word("重启网关"))
    server.add(
        "b", "告警级别", sheet(["级别", "含义"], ["P1", "停机"]), type="sheet", parent=top.node
    )
    server.add("c", "扩容", word("扩容磁盘"), parent=top.node)
    server.add("d", "思维导图", type="mindnote", parent=top.node)
    server.add("e", "流程.pdf", b"%PDF-1.4 flow", type="file", parent="nodec")
    return server


def test_a_whole_wiki_comes_in_page_by_page_as_office_files(base, wiki):
    run = look(source(base, wiki))
    assert counts(run) == (4, 0, 0, 0, 0)
    documents = {d.title: d for d in Document.objects.all()}
    assert set(documents) == {"运维手册", "告警级别", "扩容", "流程"}
    assert documents["告警级别"].latest.media_type.endswith("spreadsheetml.sheet")
    assert documents["运维手册"].latest.media_type.endswith("wordprocessingml.document")
    assert documents["扩容"].url == "https://x.feishu.cn/wiki/nodec"


def test_only_what_was_edited_is_exported_again(base, wiki):
    place = source(base, wiki)
    look(place)
    wiki.calls.clear()
    assert counts(look(place)) == (0, 0, 4, 0, 0)
    assert not any("export" in call or "download" in call for call in wiki.calls)
    wiki.doc("c").edited, wiki.doc("c").content = 2, word("扩容磁盘和内存")
    assert counts(look(place)) == (0, 1, 3, 0, 0)
    assert wiki.calls.count("POST /drive/v1/export_tasks") == 1


def test_a_page_and_all_below_it_or_one_document(base, wiki):
    look(source(base, wiki, "https://x.feishu.cn/wiki/nodec"))
    assert {d.title for d in Document.objects.all()} == {"扩容", "流程"}
    Document.objects.all().delete()
    look(source(base, wiki, "https://x.feishu.cn/sheets/b"))
    assert [d.title for d in Document.objects.all()] == ["告警级别"]


def test_a_folder_with_its_folders_and_shortcuts(base, server):
    server.add("F2", "旧", type="folder", parent="F1")
    server.add("a", "手册", word("重启"), parent="F1")
    server.add("b", "值班", word("值班"), parent="F2")
    target = {"shortcut_info": {"target_type": "docx", "target_token": "a"}}
    server.add("s", "手册（快捷方式）", type="shortcut", parent="F2", extra=target)
    run = look(source(base, server, "https://x.feishu.cn/drive/folder/F1"))
    assert run.added == 2
    assert {d.title for d in Document.objects.all()} == {"手册", "值班"}


def test_an_address_that_is_none_is_no_link(base, server):
    extra = {"url": "javascript:alert(1)"}
    server.add("a", "手册", word("重启"), parent="F1", extra=extra)
    look(source(base, server, "https://x.feishu.cn/drive/folder/F1"))
    assert Document.objects.get().url == ""


def test_what_vanished_is_retired_but_not_what_may_not_be_seen(base, wiki):
    place = source(base, wiki)
    look(place)
    wiki.doc("c").children_forbidden = True
    for _run in range(3):
        assert look(place).retired == 0
    assert "扩容" in place.error
    wiki.doc("c").children_forbidden = False
    wiki.docs = [doc for doc in wiki.docs if doc.token != "e"]
    assert look(place).retired == 0
    assert look(place).retired == 1


def test_a_document_that_may_not_be_exported_is_named(base, wiki):
    wiki.doc("b").forbidden = True
    wiki.doc("c").deleted = True
    place = source(base, wiki)
    assert counts(look(place)) == (2, 0, 0, 0, 2)
    assert "告警级别" in place.items.get(key="sheet:b").error
    assert "扩容" in place.items.get(key="docx:c").error


def test_a_token_is_kept_and_renewed_when_it_ended(base, wiki):
    place = source(base, wiki)
    look(place)
    look(place)
    sign_ins = "POST /auth/v3/tenant_access_token/internal"
    assert wiki.calls.count(sign_ins) == 1
    assert APP_SECRET not in place.secret and "t-1" not in place.secret
    wiki.expire()  # sooner than it said
    assert counts(look(place)) == (0, 0, 4, 0, 0)
    assert wiki.calls.count(sign_ins) == 2
    kept = unseal(place.secret)
    place.secret = seal({**kept, "until": time.time() - 1})
    place.save()
    look(place)
    assert wiki.calls.count(sign_ins) == 3


def test_a_limit_is_waited_for(base, wiki, pauses):
    wiki.limit = [7, 3]
    assert look(source(base, wiki)).added == 4
    assert pauses[:2] == [7, 3]


def test_a_limit_that_lasts_is_left_to_the_next_run(base, wiki):
    place = source(base, wiki)
    look(place)
    wiki.limit = [3600]
    assert look(place).retired == 0 and place.state == Source.State.FAILED


def test_a_wrong_secret_is_said(base, wiki):
    place = source(base, wiki)
    place.secret = seal({"app_secret": "wrong"})
    place.save()
    look(place)
    assert place.state == Source.State.FAILED and "App Secret" in place.error


# --- a person's own sign-in -----------------------------------------------------------


def connected(base, wiki):
    place = source(base, wiki, identity="user")
    verifier = "v" * 43
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
    code = wiki.authorize("https://desk.example/back", challenge)
    sources.backend(place).connect(code, "https://desk.example/back", verifier)
    return place


def test_a_person_connects_and_their_token_is_rotated(base, wiki):
    place = connected(base, wiki)
    first = unseal(place.secret)["refresh_token"]
    assert look(place).added == 4
    wiki.expire()
    assert counts(look(place)) == (0, 0, 4, 0, 0)
    second = unseal(place.secret)["refresh_token"]
    assert second != first and wiki.refresh_tokens == {first: True, second: False}
    wiki.expire()
    assert counts(look(place)) == (0, 0, 4, 0, 0)  # the rotated one was written down


def test_two_processes_do_not_use_a_refresh_token_twice(base, wiki):
    place = connected(base, wiki)
    one, other = (sources.backend(Source.objects.get(pk=place.pk)) for _ in range(2))
    stale = other.secret("token")
    wiki.expire()
    with one.opened(), other.opened():
        fresh = one._token(refused=stale)
        assert other._token(refused=stale) == fresh


def test_a_sign_in_that_ended_says_what_to_do(base, wiki):
    place = connected(base, wiki)
    wiki.expire()
    wiki.refresh_tokens.clear()
    look(place)
    assert place.state == Source.State.FAILED and "invalid" in place.error
    never = source(base, wiki, identity="user")
    look(never)
    assert never.state == Source.State.FAILED and never.error


def test_a_code_without_its_verifier_is_no_use(base, wiki):
    place = source(base, wiki, identity="user")
    code = wiki.authorize("https://desk.example/back", "challenge")
    with pytest.raises(FetchError):
        sources.backend(place).connect(code, "https://desk.example/back", "wrong" * 10)
    assert not unseal(place.secret).get("token")


@pytest.mark.parametrize(
    ("address", "kind", "token"),
    [
        ("https://x.feishu.cn/wiki/wikcnKQ1k3p", "wiki", "wikcnKQ1k3p"),
        ("https://x.feishu.cn/wiki/settings/6870403571079249922", "space", "6870403571079249922"),
        ("https://x.feishu.cn/drive/folder/fldcnAbc?from=a", "folder", "fldcnAbc"),
        ("https://x.larksuite.com/docx/DocX1#part", "docx", "DocX1"),
        ("https://x.feishu.cn/sheets/shtcn1?sheet=2", "sheet", "shtcn1"),
        ("https://x.feishu.cn/base/bascn1", "bitable", "bascn1"),
    ],
)
def test_addresses_of_the_browser_are_understood(address, kind, token):
    assert feishu._place(address) == feishu.Place(kind, token)


def test_other_addresses_are_refused(base, server):
    form = feishu.FeishuOptions(
        {"server": "feishu", "app_id": "a", "app_secret": "b", "identity": "app",
         "place": "https://x.feishu.cn/minutes/abc"}
    )  # fmt: skip
    form.source = Source(kind="feishu")
    assert not form.is_valid() and set(form.errors) == {"place"}


def test_the_file_is_not_read_twice(base, wiki):
    look(source(base, wiki))
    assert Revision.objects.count() == 4

"""The higher tiers, against a server that speaks MinerU's protocol."""

import pytest
from django.core.files.base import ContentFile

from knowledge import parsing, tasks, uploading
from knowledge.models import Chunk, KnowledgeBase, Revision, Status
from knowledge.parsing import Unfinished, mineru
from opsdesk.checks import reading
from opsdesk.errors import ParseError
from tests.knowledge.mineru_server import mineru_server
from tests.knowledge.parsing import files


@pytest.fixture
def server(settings, monkeypatch):
    monkeypatch.setattr(mineru, "POLL", 0.01)
    monkeypatch.setattr(mineru, "wait_random_exponential", lambda **options: lambda state: 0)
    with mineru_server() as started:
        settings.MINERU_URL, settings.MINERU_API_KEY = started.url, "sk-mineru-key"
        yield started


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiers") / "a.pdf"
    files.pdf(path, [["自己读到的文字", "第二行文字", "第三行文字，足够成为一页"]])
    return path


def read(path, **options):
    return parsing.parse(path, path.name, tier="standard", **options)


def test_what_the_server_reads_becomes_a_document(server, original):
    parsed = read(original)
    assert [block.kind for block in parsed.blocks if not block.hidden][:2] == [
        "heading",
        "paragraph",
    ]
    table = next(block for block in parsed.blocks if block.kind == "table")
    assert table.rows == [["级别", "时限"], ["P1", "15 分钟"], ["", "30 分钟"]]
    assert (table.page, table.box) == (1, (0.1, 0.1, 0.9, 0.2))
    assert r"\frac{a}{b}" in [block.text for block in parsed.blocks if block.kind == "formula"]
    picture = next(asset for asset in parsed.assets if asset.kind == "picture")
    assert (picture.number, picture.data[:4]) == ("图 1", b"\x89PNG")
    assert parsed.parser == "MinerU 4.0.12 standard" and not parsed.warnings
    order = server.asked("/v1/parse/jobs")[0]
    assert (order["tier"], order["output_formats"]) == ("standard", ["zip"])
    assert {headers.get("Authorization") for *_, headers in server.requests} == {
        "Bearer sk-mineru-key"
    }


def test_a_file_the_server_knows_is_not_sent_again(server, original):
    read(original), read(original)
    assert [method for method, *_ in server.requests].count("PUT") == 1


def test_a_passing_trouble_is_tried_again(server, original):
    server.script = [503, "", 429, "hang up", "", 500]
    assert read(original).parser.startswith("MinerU")


def test_what_is_no_mineru_server_is_waited_for(server, original):
    server.script = ["garbage"] * 3
    with pytest.raises(ParseError, match="MinerU") as refusal:
        read(original)
    assert not refusal.value.permanent


def test_a_server_that_is_down_is_waited_for_and_then_done_without(settings, original):
    with mineru_server() as gone:
        settings.MINERU_URL = gone.url
    with pytest.raises(ParseError) as refusal:
        read(original)
    assert not refusal.value.permanent and "MinerU" in str(refusal.value)
    parsed = read(original, insist=False)
    assert "自己读到的文字" in parsed.blocks[0].text
    assert len(parsed.warnings) == 1 and "MinerU" in parsed.warnings[0]


class Kept(dict):
    load = dict.copy
    save = dict.__setitem__


def test_what_was_begun_natively_is_finished_so(server, original):
    store = Kept()
    server.script = [400]
    first = read(original, store=store)
    again = read(original, store=store)  # of a long file, whose time was over in between
    assert again.warnings == first.warnings != [] and len(server.requests) == 1


@pytest.mark.parametrize("spoil", ["failed job", "bad zip", "unauthorised"])
def test_what_the_server_cannot_read_we_read(server, original, spoil):
    if spoil == "failed job":
        server.error = "page 3 is broken"
    elif spoil == "bad zip":
        server.result = server.result.replace(b"docvortex.middle", b"docvortex.muddle")
    else:
        server.script = [401]
    parsed = read(original)
    assert "自己读到的文字" in parsed.blocks[0].text and "MinerU" in parsed.warnings[0]


def test_only_pages_are_sent(server, tmp_path):
    files.xlsx(tmp_path / "a.xlsx")
    assert not read(tmp_path / "a.xlsx").parser.startswith("MinerU") and not server.requests


def test_without_server_or_package_the_tier_is_missed_and_a_check_says_so(settings, original):
    settings.MINERU_URL, settings.PARSE_TIER = "", "basic"
    assert "MinerU" in read(original).warnings[0]
    assert [message.id for message in reading(None)] == ["opsdesk.E012"]
    settings.MINERU_URL = "http://mineru:8000"
    assert not list(reading(None))


@pytest.mark.django_db
class TestDocuments:
    @pytest.fixture(autouse=True)
    def media(self, settings, tmp_path):
        settings.MEDIA_ROOT = tmp_path / "files"

    @pytest.fixture
    def document(self, original):
        base = KnowledgeBase.objects.create(slug="ops", name="Ops", tier="standard")
        file = ContentFile(original.read_bytes())
        return uploading.add(base, file=file, name="a.pdf", approved=True).document

    def process(self, document):
        tasks.process(document.latest_id)
        return Revision.objects.get(pk=document.latest_id)

    def test_a_document_says_how_it_is_read_before_its_base_and_the_settings(
        self, settings, document
    ):
        assert document.reading == "standard"
        document.tier = "native"
        assert document.reading == "native"
        document.tier = document.knowledge_base.tier = ""
        settings.PARSE_TIER = "advanced"
        assert document.reading == "advanced"

    def test_changing_the_tier_reads_it_again(self, server, document):
        assert self.process(document).parser == "MinerU 4.0.12 standard"
        assert Chunk.objects.filter(text__contains="先切换主库").exists()
        document.tier = "native"
        document.save()
        assert uploading.retry(document)
        assert "MinerU" not in self.process(document).parser
        assert not Chunk.objects.filter(text__contains="先切换主库").exists()

    def test_it_waits_for_the_server_and_in_the_end_does_without(self, server, document):
        server.script = [503] * 100
        for _ in range(tasks.ATTEMPTS - 1):
            revision = self.process(document)
            assert revision.status == Status.QUEUED and "MinerU" in revision.error
        revision = self.process(document)
        assert revision.status == Status.READY
        assert any("MinerU" in warning for warning in revision.parsed["warnings"])

    def test_a_server_that_forgets_its_jobs_is_not_asked_for_ever(
        self, server, document, monkeypatch
    ):
        def lost(*args):
            server.jobs.clear()  # it read this file and had to start again
            raise mineru.Refused("gone", passing=True)

        monkeypatch.setattr(mineru._Server, "_wait", lost)
        for _ in range(tasks.ATTEMPTS):
            revision = self.process(document)
        assert revision.status == Status.READY
        assert any("MinerU" in warning for warning in revision.parsed["warnings"])

    def test_a_job_that_takes_long_is_found_again(self, server, document, monkeypatch):
        wait = mineru._Server._wait

        def over(*args):
            raise Unfinished

        monkeypatch.setattr(mineru._Server, "_wait", over)
        assert self.process(document).status == Status.PROCESSING  # the next task goes on
        monkeypatch.setattr(mineru._Server, "_wait", wait)
        assert self.process(document).parser == "MinerU 4.0.12 standard"
        assert len(server.jobs) == 1

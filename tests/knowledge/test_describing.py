"""Figures described by a vision model, against a server that speaks its protocol."""

import pytest
from django.core.files.base import ContentFile
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from knowledge import describing, indexing, parsing, retrieval, tasks, uploading, vision
from knowledge.models import Attachment, Chunk, Document, KnowledgeBase, Revision
from knowledge.parsing.document import Asset, Block, ParsedDocument
from opsdesk import locking
from opsdesk.backends import backend
from opsdesk.checks import vision as check
from opsdesk.errors import ModelError
from tests.knowledge.parsing import files
from tests.knowledge.test_admin import staff
from tests.knowledge.vision_server import vision_server, words

State = Attachment.Description
BLUE, RED, GREEN = (files.picture(color=color) for color in ("blue", "red", "green"))
DOT, RULE = files.picture((20, 20)), files.picture((1200, 50))


@pytest.fixture(autouse=True)
def server(settings, monkeypatch, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    monkeypatch.setattr(vision, "wait_random_exponential", lambda **options: lambda state: 0)
    with vision_server() as started:
        options = {"base_url": started.url, "api_key": "sk-x", "model": "qwen-vl", "timeout": 20}
        configured = {"BACKEND": "knowledge.vision.VisionModel", "OPTIONS": options}
        settings.BACKENDS = {**settings.BACKENDS, "vision": configured}
        yield started


def model(server, timeout=20):
    return vision.VisionModel(base_url=server.url, api_key="sk-x", model="qwen-vl", timeout=timeout)


class TestTheModel:
    def test_it_is_shown_the_picture_with_what_is_known_of_it(self, server):
        picture = vision.Picture(BLUE, "image/png", "值班手册", "图 3 架构", "db-1")
        assert model(server).describe(picture) == words(BLUE)
        request = server.requests[0]
        asked = request["messages"][1]["content"][1]["text"]
        assert all(known in asked for known in ("值班手册", "图 3 架构", "db-1"))
        assert "NONE" in request["messages"][0]["content"] and request["model"] == "qwen-vl"

    @pytest.mark.parametrize("trouble", [429, 500, 503, "garbage", "html", "empty", "stall"])
    def test_a_passing_trouble_is_tried_again(self, server, trouble):
        server.script = [trouble]
        describe = model(server, timeout=1.5 if trouble == "stall" else 20).describe
        assert describe(vision.Picture(BLUE, "image/png")) == words(BLUE)

    @pytest.mark.parametrize(("status", "permanent"), [(400, True), (401, True), (503, False)])
    def test_an_error_says_whether_asking_again_helps(self, server, status, permanent):
        server.script = [status] * 2
        with pytest.raises(ModelError, match=str(status)) as refusal:
            model(server).describe(vision.Picture(BLUE, "image/png"))
        assert refusal.value.permanent is permanent

    @pytest.mark.parametrize(
        ("said", "kept"),
        [
            ("NONE", ""),
            ("<think>嗯</think> 一张折线图。", "一张折线图。"),
            ("一句话。" * 600 + "没说完", "一句话。" * 500),
        ],
    )
    def test_what_it_says_is_checked(self, server, said, kept):
        server.says = said
        assert model(server).describe(vision.Picture(BLUE, "image/png")) == kept

    def test_a_server_without_model_is_a_finding(self, settings):
        settings.VISION_BASE_URL, settings.VISION_MODEL = "http://vl:8000/v1", ""
        assert [message.id for message in check(None)] == ["opsdesk.E013"]


# --- documents ---------------------------------------------------------------------


def drawn(*pictures):
    blocks, assets = [Block("heading", "架构", level=1), Block("paragraph", "如图所示。")], []
    for index, data in enumerate(pictures):
        size = {DOT: (20, 20), RULE: (1200, 50)}.get(data, (240, 120))
        asset = Asset("picture", f"图 {index}", data=data, media_type="image/png")
        asset.width, asset.height = size
        blocks.append(Block("picture", asset=index))
        assets.append(asset)
    return ParsedDocument(blocks=blocks, assets=assets)


def revise(base, content, *pictures):
    added = uploading.add(
        base, file=ContentFile(content), name="a.md", external_id="a", approved=True
    )
    indexing.put(added.revision, drawn(*pictures))
    revision = Revision.objects.get(pk=added.revision.pk)
    describing.begin(revision)
    return revision


@pytest.fixture
def base(db):
    return KnowledgeBase.objects.create(slug="ops", name="Ops", audience="visitors")


@pytest.fixture
def revision(base):
    return revise(base, b"# a", BLUE, RED, GREEN)


def states(revision):
    rows = revision.attachments.order_by("position")
    return [row.description_state for row in rows]


def queued():
    return [row.args() for row in OrmQ.objects.all() if "describe" in row.func()]


def test_figures_are_described_and_found_by_what_they_show(server, revision):
    assert states(revision) == [State.WAITING] * 3 and queued() == [(revision.pk,)]
    describing.describe(revision.pk)
    assert states(revision) == [State.DONE] * 3
    assert describing.progress(revision) == {"total": 3, "done": 3, "failed": 0, "waiting": 0}
    first = revision.attachments.get(position=0)
    assert (first.description, first.described_by) == (words(BLUE), "qwen-vl")
    assert f"> 图 0：{words(BLUE)}" in "\n".join(Chunk.objects.values_list("text", flat=True))
    number = words(RED)[7:15]
    found = retrieval.search(f"编号 {number} 的架构图", [KnowledgeBase.objects.get()])
    assert number in found.passages[0].text
    assert indexing.drift() == 0
    describing.describe(revision.pk)  # a second delivery asks nothing and changes nothing
    assert len(server.requests) == 3


def test_a_few_are_asked_about_at_once(server, revision, settings):
    settings.VISION_CONCURRENCY = 2
    server.script = ["stall"]  # of two one picture might get both, and is left for later
    server.stopped.set()  # a stall ends at once, without an answer
    describing.describe(revision.pk)
    assert states(revision) == [State.DONE] * 3 and server.busiest <= 2


def test_what_is_tiny_thin_or_there_twice_is_left_out(server, base):
    revision = revise(base, b"# b", DOT, RULE, BLUE, BLUE)
    describing.describe(revision.pk)
    assert states(revision) == ["", "", State.DONE, ""] and len(server.requests) == 1
    assert revision.attachments.get(position=3).description == words(BLUE)
    assert describing.progress(revision)["total"] == 1


def test_a_replacement_keeps_what_is_known_of_the_same_picture(server, base, revision):
    describing.describe(revision.pk)
    asked = len(server.requests)
    replaced = revise(base, b"# other", RED, files.picture(color="black"))
    assert states(replaced) == [State.DONE, State.WAITING]
    assert words(RED) in "\n".join(Chunk.objects.values_list("text", flat=True))
    describing.describe(replaced.pk)
    assert len(server.requests) == asked + 1 and states(replaced) == [State.DONE] * 2
    describing.describe(revision.pk)  # an old revision's turn came late
    assert len(server.requests) == asked + 1


def test_reading_it_again_keeps_the_descriptions(server, base, revision):
    describing.describe(revision.pk)
    indexing.put(revision, drawn(BLUE, GREEN))
    describing.begin(revision)
    first, second = revision.attachments.order_by("position")[:2]
    assert first.description == words(BLUE) and second.description == words(GREEN)
    text = "\n".join(Chunk.objects.values_list("text", flat=True))
    assert text.count(words(BLUE)) == text.count(words(GREEN)) == 1 and words(RED) not in text


def test_one_that_fails_loses_none_of_the_others_and_is_given_up(server, revision, settings):
    settings.VISION_CONCURRENCY = 1
    backend("vision")._breaker.fail_max = 10  # it is the pictures that are given up here
    server.script = [500, 500, 400]
    describing.describe(revision.pk)
    assert sorted(states(revision)) == sorted([State.WAITING, State.FAILED, State.DONE])
    for _ in range(describing.ATTEMPTS - 1):
        server.script = [503] * 2
        describing.describe(revision.pk)
    assert describing.progress(revision)["failed"] == 2
    failed = revision.attachments.filter(description_state=State.FAILED)
    assert all(row.description_error for row in failed)
    assert describing.again(revision) == 2
    describing.describe(revision.pk)
    assert states(revision) == [State.DONE] * 3
    assert not revision.attachments.exclude(description_error="").exists()


def test_a_model_that_is_down_is_left_alone_after_a_few(server, base):
    pictures = [files.picture(text=str(number)) for number in range(9)]
    revision = revise(base, b"# many", *pictures)
    server.script = [503] * 100
    describing.describe(revision.pk)
    assert len(server.requests) <= 2 * (describing.IN_A_ROW + 3)
    assert State.FAILED not in states(revision)


def test_a_kill_in_the_middle_loses_only_what_was_asked(server, revision, monkeypatch, settings):
    settings.VISION_CONCURRENCY = 1
    answered, settled = describing._answered, []

    def killed(model, picture, future):
        if settled:
            raise SystemExit
        settled.append(picture)
        return answered(model, picture, future)

    monkeypatch.setattr(describing, "_answered", killed)
    with pytest.raises(SystemExit):
        describing.describe(revision.pk)
    monkeypatch.setattr(describing, "_answered", answered)
    assert states(revision) == [State.DONE, State.WAITING, State.WAITING]
    OrmQ.objects.update(lock=timezone.now() + timezone.timedelta(minutes=5))  # taken, then killed
    assert describing.sweep() == 1 and describing.sweep() == 0
    describing.describe(revision.pk)
    assert states(revision) == [State.DONE] * 3
    assert describing.sweep() == 0
    assert Schedule.objects.filter(func="knowledge.describing.sweep").exists()


def test_two_workers_do_not_ask_twice(server, revision, monkeypatch):
    monkeypatch.setattr(locking, "_call", lambda function, key: False)  # another one holds it
    describing.describe(revision.pk)
    assert not server.requests and states(revision) == [State.WAITING] * 3


def test_without_a_model_nothing_waits(settings, base):
    settings.BACKENDS = {**settings.BACKENDS, "vision": None}
    revision = revise(base, b"# c", BLUE)
    assert states(revision) == [""] and not queued() and describing.sweep() == 0


def test_a_document_that_goes_meanwhile_is_no_error(server, base, revision, monkeypatch):
    answered = describing._answered

    def late(*args):
        uploading.delete(Document.objects.all())
        return answered(*args)

    monkeypatch.setattr(describing, "_answered", late)
    describing.describe(revision.pk)
    assert not Attachment.objects.exists()


def test_what_is_read_gets_to_the_model(server, base, monkeypatch):
    monkeypatch.setattr(parsing, "parse", lambda *args, **options: drawn(BLUE))
    data = ContentFile(b"%PDF-1.7")
    document = uploading.add(base, file=data, name="a.pdf", approved=True).document
    tasks.process(document.latest_id)
    assert queued() == [(document.latest_id,)]
    describing.describe(document.latest_id)
    assert words(BLUE) in Chunk.objects.get().text


def test_the_page_shows_progress_and_tries_again(server, admin_client, client, revision):
    page = reverse("admin:knowledge_document_change", args=[revision.document_id])
    retry = reverse("admin:knowledge_document_describe", args=[revision.document_id])
    states_of = reverse("admin:knowledge_document_states")
    assert "已描述 0 / 3" in admin_client.get(page).content.decode()
    told = admin_client.get(states_of, {"ids": revision.document_id}).json()["documents"]
    assert told[str(revision.document_id)]["pending"]
    server.script = [400] * 3
    describing.describe(revision.pk)
    shown = admin_client.get(page).content.decode()
    assert "scripted 400" in shown and retry in shown
    assert admin_client.get(retry).status_code == 405
    assert admin_client.post(retry).status_code == 302 and states(revision) == [State.WAITING] * 3
    assert staff(client, "view_document").post(retry).status_code == 403

"""What fails is named, and keeps nobody waiting longer than it may."""

import socket
import time

import pytest

from chat import asking, degrading, presenting, runner
from chat.models import Conversation
from knowledge import embedding, vision
from opsdesk.errors import ModelError
from tests.chat.fake_model import FakeModel
from tests.knowledge.embedding_server import embedding_server
from tests.knowledge.rerank_server import rerank_server
from tests.knowledge.vision_server import vision_server

QUESTION = "数据库备份保存在哪个目录，保留多久？"
WITHIN = 20.0  # seconds, on a busy machine: budgets below are well under one


@pytest.fixture
def nowhere():
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


@pytest.fixture
def use(settings):
    def configure(alias, backend, **options):
        config = {"BACKEND": backend, "OPTIONS": options}
        settings.BACKENDS = {**settings.BACKENDS, alias: config}
        if alias == "embedder":
            settings.EMBEDDER, settings.EMBEDDERS = "it", {"it": config}

    return configure


def told(question=QUESTION):
    """The turn of a new conversation, and how long it took."""
    conversation = Conversation.objects.create(visitor="w" * 32)
    _message, turn = asking.ask(conversation, question)
    begun = time.monotonic()
    runner.run_waiting()
    turn.refresh_from_db()
    return turn, time.monotonic() - begun


def shown(turn):
    return presenting.message_json(turn.reply)["degraded"]


def test_nothing_is_said_where_nothing_is_configured(base):
    turn, _seconds = told()
    assert turn.outcome == "answered"
    assert turn.reply.data["degraded"] == []
    assert "degraded" not in turn.trace
    assert shown(turn) == ""


def test_a_model_that_is_gone_or_slow(base, settings, use, nowhere):
    import openai  # noqa: F401  takes a second itself

    settings.TURN_SECONDS = 5.7  # 5 of them are kept for the extract
    for trouble in ("refused", "silence", "stall", "heartbeat"):
        fake = FakeModel()
        fake.script = [trouble]
        url = nowhere if trouble == "refused" else fake.url
        use("llm", "chat.llms.OpenAIModel", base_url=url, api_key="none", model="m",
            temperature=0.2, timeout=30.0)  # fmt: skip
        try:
            turn, seconds = told()
        finally:
            fake.close()
        # Its own 30 s are not waited for, even where the machine has other things to do.
        assert seconds < 20, trouble
        assert (turn.outcome, turn.trace["degraded"]) == ("answered", ["extractive"]), trouble
        assert turn.reply.data["mode"] == "extractive-fallback"
        assert "摘自" in shown(turn)


def test_an_embedder_that_is_gone_or_slow(base, settings, use, nowhere):
    settings.EMBED_SECONDS = 0.4
    embedder = "knowledge.embedders.OpenAIEmbedder"
    with embedding_server() as server:
        use("embedder", embedder, model="m", dimensions=8, base_url=server.url)
        assert embedding.advance(embedding.create().pk, 60)
        for trouble in ("refused", "silent", "drip"):
            url = nowhere if trouble == "refused" else server.url
            use("embedder", embedder, model="m", dimensions=8, base_url=url)
            server.script = [trouble] * 9
            turn, seconds = told()
            assert seconds < WITHIN, trouble
            assert (turn.outcome, turn.trace["degraded"]) == ("answered", ["words_only"]), trouble
            assert "字词" in shown(turn)


def test_a_reranker_that_is_gone_or_slow(base, use, nowhere):
    reranker = "knowledge.rerankers.EndpointReranker"
    with rerank_server() as server:
        for trouble in ("refused", "silent", "drip"):
            url = nowhere if trouble == "refused" else server.url
            use("reranker", reranker, model="m", url=url, seconds=0.4)
            server.script = [trouble] * 9
            turn, seconds = told()
            assert seconds < WITHIN, trouble
            assert (turn.outcome, turn.trace["degraded"]) == ("answered", ["no_reranker"]), trouble
            assert shown(turn)


@pytest.mark.django_db
@pytest.mark.parametrize("trouble", ["refused", "stall"])
def test_a_vision_model_that_is_gone_or_slow(nowhere, trouble):
    with vision_server() as server:
        server.script = [trouble] * 9
        url = nowhere if trouble == "refused" else server.url
        model = vision.VisionModel(base_url=url, api_key="none", model="m")
        begun = time.monotonic()
        with pytest.raises(ModelError):
            model.describe(vision.Picture(b"x", "image/png"), seconds=0.4)
    assert time.monotonic() - begun < WITHIN


def test_several_that_fail_are_all_named(base, settings, use, nowhere):
    use("llm", "chat.llms.OpenAIModel", base_url=nowhere, api_key="none", model="m",
        temperature=0.2, timeout=1.0)  # fmt: skip
    use("reranker", "knowledge.rerankers.EndpointReranker", model="m", url=nowhere, seconds=0.4)
    turn, _seconds = told()
    assert turn.trace["degraded"] == ["no_reranker", "extractive"]
    assert shown(turn).count("；") == 1


def test_at_last_a_person_helps(base):
    conversation = Conversation.objects.create(visitor="w" * 32)
    _message, turn = asking.ask(conversation, QUESTION)
    type(turn).objects.update(attempt=3)  # as after three attempts that failed
    runner.run_waiting()
    turn.refresh_from_db()
    assert (turn.outcome, turn.trace["degraded"]) == ("failed", ["person"])
    assert "人工" in shown(turn)


def test_every_rung_has_its_words():
    assert degrading.labels().keys() == set(degrading.RUNGS)
    assert degrading.sentence([degrading.NO_UNDERSTANDING]) == ""  # nothing that a customer sees

import os
import socket
import threading
import time

import pytest

from knowledge import diagnosis, rerankers, retrieval
from knowledge.rerankers import ColbertReranker, EndpointReranker, FlagReranker, Reranker
from opsdesk.diagnosis import Level
from opsdesk.errors import ModelError
from tests.knowledge import documents
from tests.knowledge.rerank_server import rerank_server, score

QUERY = "重启 nginx 之前做什么"
TEXTS = ["重启 nginx 之前检查配置", "磁盘空间不足", "nginx 重启以后看日志"]


@pytest.fixture
def server():
    with rerank_server() as running:
        yield running


@pytest.fixture
def endpoint(server):
    return EndpointReranker("some-model", url=server.url, api_key="key", seconds=5)


class TestEndpoint:
    def test_asks_as_the_protocol_wants(self, server, endpoint):
        assert endpoint.scores(QUERY, TEXTS) == [score(QUERY, text) for text in TEXTS]
        headers, body = server.requests[0]
        assert headers["Authorization"] == "Bearer key"
        assert body == {"model": "some-model", "query": QUERY, "documents": TEXTS, "top_n": 3}

    def test_the_address_may_name_the_path(self, server):
        named = EndpointReranker("m", url=f"{server.url}/rerank")
        assert len(named.scores(QUERY, TEXTS)) == 3

    def test_nothing_asked_nothing_sent(self, server, endpoint):
        assert endpoint.scores(QUERY, []) == []
        assert not server.requests

    def test_sends_no_more_than_a_model_reads(self, server, endpoint):
        endpoint.scores("问" * 5000, ["答" * 9000])
        _, body = server.requests[0]
        assert len(body["query"]) == rerankers.QUESTION
        assert len(body["documents"][0]) == rerankers.PASSAGE

    @pytest.mark.parametrize("trouble", [429, 500, "short", "garbage", "hang up"])
    def test_tries_again_what_may_pass(self, server, endpoint, trouble):
        server.script = [trouble]
        assert len(endpoint.scores(QUERY, TEXTS)) == 3
        assert len(server.requests) == 2

    @pytest.mark.parametrize("status", [400, 401, 404, 413])
    def test_a_refusal_is_final(self, server, endpoint, status):
        server.script = [status]
        with pytest.raises(ModelError, match=f"{status}.*scripted {status}") as caught:
            endpoint.scores(QUERY, TEXTS)
        assert caught.value.permanent
        assert len(server.requests) == 1

    def test_refuses_what_is_no_number(self, server, endpoint):
        server.script = ["nan"] * 3
        with pytest.raises(ModelError):
            endpoint.scores(QUERY, TEXTS)

    @pytest.mark.parametrize("trouble", ["drip", "silent"])
    def test_is_not_waited_for(self, server, trouble):
        server.script = [trouble] * 3
        begun = time.monotonic()
        with pytest.raises(ModelError):
            EndpointReranker("m", url=server.url, seconds=0.2).scores(QUERY, TEXTS)
        assert time.monotonic() - begun < 15

    def test_is_left_alone_when_it_fails_again_and_again(self, db, server, endpoint):
        server.script = ["garbage"] * 99
        for _ in range(5):
            with pytest.raises(ModelError):
                endpoint.scores(QUERY, TEXTS)
        assert len(server.requests) == 3 * 3  # three tries each

    def test_nobody_there(self):
        with socket.socket() as taken:  # bound but not listening: connections are refused
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(ModelError) as caught:
                EndpointReranker("m", url=url, seconds=0.5).scores(QUERY, TEXTS)
        assert not caught.value.permanent


class Letters(Reranker):
    """Reads as the server does, so many texts as it was told."""

    count = None

    def score(self, query, texts, deadline):
        return [score(query, text) for text in texts[: self.count]]


class Broken(Reranker):
    def score(self, query, texts, deadline):
        raise ModelError("no answer", permanent=False)


@pytest.fixture
def base(db):
    made = documents.base()
    telling = ["nginx nginx nginx 重启 重启", "做什么：重启 nginx 之前检查配置"]
    documents.put_many(made, *telling, *(f"nginx 第 {n} 台" for n in range(8)))
    return made


def use(settings, backend, **options):
    config = {"BACKEND": backend, "OPTIONS": {"model": "letters", **options}}
    settings.BACKENDS = {**settings.BACKENDS, "reranker": config}


def ids(found):
    return [passage.chunk_id for passage in found.passages]


class TestRetrieval:
    def test_the_reranker_has_its_say(self, base, settings, server):
        before = retrieval.search(QUERY, [base], 10)
        use(settings, "knowledge.rerankers.EndpointReranker", url=server.url)
        found = retrieval.search(QUERY, [base], 10)
        assert found.passages[0].text.startswith("做什么")
        assert sorted(ids(found)) == sorted(ids(before))
        assert found.order["ranked"] == ids(found)
        by_reranker = [found.order["rerank"].index(one) for one in ids(found)]
        assert by_reranker[0] == 0
        sent = server.requests[0][1]["documents"]
        for passage in found.passages:
            assert passage.scores["rerank"] == score(QUERY, "\n\n" + passage.text)
        assert len(sent) == 10

    def test_scores_stay_shares_in_the_order_of_the_ranking(self, base, settings):
        use(settings, f"{__name__}.Letters")
        shares = [passage.score for passage in retrieval.search(QUERY, [base], 10).passages]
        assert shares == sorted(shares, reverse=True)
        assert all(0 <= share <= 1 for share in shares)
        assert len(set(shares)) > 1

    def test_what_there_was_no_time_for_comes_behind(self, base, settings, monkeypatch):
        before = ids(retrieval.search(QUERY, [base], 10))
        use(settings, f"{__name__}.Letters")
        monkeypatch.setattr(Letters, "count", 4)
        found = retrieval.search(QUERY, [base], 10)
        assert sorted(ids(found)[:4]) == sorted(before[:4])
        assert ids(found)[4:] == before[4:]
        shares = [passage.score for passage in found.passages]
        assert shares == sorted(shares, reverse=True)

    def test_one_that_fails_changes_nothing_and_is_named(self, base, settings, caplog):
        before = retrieval.search(QUERY, [base], 10)
        use(settings, f"{__name__}.Broken")
        found = retrieval.search(QUERY, [base], 10)
        assert ids(found) == ids(before)
        assert [one.score for one in found.passages] == [one.score for one in before.passages]
        assert found.confidence == before.confidence
        assert (before.mode, found.mode) == (retrieval.WORDS, retrieval.NO_RERANKER)
        assert "no answer" in caplog.text

    def test_only_the_best_are_read(self, base, settings, server):
        use(settings, "knowledge.rerankers.EndpointReranker", url=server.url)
        settings.RERANK_PASSAGES = 3
        assert len(retrieval.search(QUERY, [base], 10).passages) == 10
        assert len(server.requests[0][1]["documents"]) == 3

    def test_nothing_found_nothing_read(self, base, settings, server):
        use(settings, "knowledge.rerankers.EndpointReranker", url=server.url)
        assert retrieval.search("龘靐齉", [base]).mode == retrieval.WORDS
        assert not server.requests

    def test_token_vectors_need_an_embedder(self, base, settings):
        settings.BACKENDS = {
            "embedder": None,
            "reranker": {"BACKEND": "knowledge.rerankers.ColbertReranker", "OPTIONS": {}},
        }
        assert retrieval.search(QUERY, [base]).mode == retrieval.NO_RERANKER
        with pytest.raises(ModelError, match="OPSDESK_EMBEDDER"):
            ColbertReranker().scores(QUERY, TEXTS)


class TestDoctor:
    def test_says_whether_it_answers(self, settings, server):
        (none,) = diagnosis.reranker()
        assert none.level is Level.OK
        use(settings, "knowledge.rerankers.EndpointReranker", url=server.url)
        (well,) = diagnosis.reranker()
        assert well.level is Level.OK
        assert well.message.startswith("letters")
        server.script = [401]
        (ill,) = diagnosis.reranker()
        assert ill.level is Level.WARN
        assert "401" in ill.message


class TestFlagRerankerWithoutWeights:
    def test_the_sentence_says_what_to_do(self, tmp_path):
        reranker = FlagReranker(str(tmp_path / "absent"), seconds=60)
        with pytest.raises(ModelError, match=r"OPSDESK_RERANK_MODEL|requirements-bge.txt"):
            reranker.scores(QUERY, TEXTS)


@pytest.fixture(scope="module")
def flag():
    """Skips where FlagEmbedding is not installed, unless it has to be."""
    if os.environ.get("OPSDESK_REQUIRE_BGE") == "1":
        import FlagEmbedding
    else:
        FlagEmbedding = pytest.importorskip("FlagEmbedding")
    return FlagEmbedding


@pytest.fixture(scope="module")
def checkpoint(flag, tmp_path_factory):
    """A folder shaped like bge-reranker-v2-m3 (XLM-RoBERTa with one label), tiny and random."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import (
        PreTrainedTokenizerFast,
        XLMRobertaConfig,
        XLMRobertaForSequenceClassification,
    )

    folder = tmp_path_factory.mktemp("bge-reranker")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    characters = sorted({*"".join(TEXTS), *QUERY, *"abcdefghijklmnopqrstuvwxyz▁"})
    vocabulary = [(token, 0.0) for token in special] + [(letter, -2.0) for letter in characters]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", cls_token="<s>", eos_token="</s>",
        sep_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1,
        bos_token_id=0, eos_token_id=2, num_labels=1, initializer_range=0.5,
    )  # fmt: skip
    XLMRobertaForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.mark.bge
class TestFlagReranker:
    def made(self, checkpoint, **options):
        return FlagReranker(str(checkpoint), max_tokens=512, **{"seconds": 60, **options})

    def test_gives_the_normalised_scores(self, flag, checkpoint):
        texts = [*TEXTS, *reversed(TEXTS), "重" * 900]
        made = self.made(checkpoint).scores(QUERY, texts)
        own = flag.FlagReranker(str(checkpoint), devices="cpu", max_length=512)
        expected = own.compute_score([(QUERY, text) for text in texts], normalize=True)
        assert made == pytest.approx(expected, abs=1e-4)
        assert all(0 <= one <= 1 for one in made)
        assert len(set(made[:3])) == 3

    def test_loads_once_for_all_threads(self, checkpoint, monkeypatch):
        reranker = self.made(checkpoint)
        loads, made = [], {}
        load = reranker._load
        monkeypatch.setattr(reranker, "_load", lambda: loads.append(1) or load())
        threads = [
            threading.Thread(target=lambda i=i: made.update({i: reranker.scores(QUERY, TEXTS)}))
            for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(loads) == 1
        assert all(made[i] == pytest.approx(made[0]) for i in range(4))

    def test_weights_that_take_long_are_not_waited_for(self, checkpoint, monkeypatch):
        reranker = self.made(checkpoint, seconds=0.05)
        go = threading.Event()
        load = reranker._load
        monkeypatch.setattr(reranker, "_load", lambda: go.wait(30) and load())
        with pytest.raises(ModelError):
            reranker.scores(QUERY, TEXTS)
        go.set()
        reranker.seconds = 60
        assert len(reranker.scores(QUERY, TEXTS)) == 3

    def test_reads_what_there_is_time_for(self, checkpoint):
        reranker = self.made(checkpoint)
        reranker.scores(QUERY, TEXTS)
        reranker.seconds = 0.2
        some = reranker.scores(QUERY, TEXTS * 2000)
        assert 0 < len(some) < 6000
        assert some[:3] == pytest.approx(reranker.scores(QUERY, TEXTS))

    def test_broken_weights_are_named(self, flag, tmp_path):
        (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta"}')
        with pytest.raises(ModelError, match="OPSDESK_RERANK_MODEL"):
            self.made(tmp_path).scores(QUERY, TEXTS)

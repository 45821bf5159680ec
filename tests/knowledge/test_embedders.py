import json
import math
import os
import socket
import threading
import time

import numpy as np
import pytest

from knowledge import dense, embedding, lexical
from knowledge.embedders import Embedder, FlagEmbedder, OpenAIEmbedder
from knowledge.models import Chunk
from opsdesk.errors import ModelError
from tests.knowledge import documents
from tests.knowledge.embedding_server import embedding_server, vector

TEXTS = ["重启服务", "ORA-01555 快照过旧", "kubectl get pods"]


def unit(numbers):
    length = math.sqrt(sum(number * number for number in numbers))
    return pytest.approx([number / length for number in numbers], abs=1e-6)


def encoded(embedder):
    return [meaning.vector for meaning in embedder.passages(TEXTS)]


@pytest.fixture
def server():
    with embedding_server() as running:
        yield running


@pytest.fixture
def embedder(server):
    return OpenAIEmbedder("some-model", 8, base_url=server.url, api_key="key", timeout=20)


class Fixed(Embedder):
    """Gives the vectors it was told to."""

    def __init__(self, *vectors, dimensions=2, **options):
        super().__init__("fixed", dimensions, **options)
        self.vectors = list(vectors)
        self.seen = []

    def embed_batch(self, texts):
        self.seen.append(texts)
        made, self.vectors = self.vectors[: len(texts)], self.vectors[len(texts) :]
        return made


class TestEmbedder:
    def test_works_in_batches_and_normalises(self):
        fixed = Fixed([3, 4], [0, 2], [5, 0], batch_size=2)
        made = [meaning.vector for meaning in fixed.passages("甲乙丙")]
        assert made == [[0.6, 0.8], [0, 1], [1, 0]]
        assert fixed.seen == [["甲", "乙"], ["丙"]]

    def test_makes_a_batch_only_when_it_is_wanted(self):
        fixed = Fixed([3, 4], [0, 2], batch_size=1)
        assert next(fixed.passages("甲乙")).vector == [0.6, 0.8]
        assert fixed.seen == [["甲"]]

    def test_tells_questions_from_passages(self):
        fixed = Fixed([1, 0], [1, 0], query_prefix="query: ", passage_prefix="passage: ")
        fixed.query("甲")
        list(fixed.passages(["乙"]))
        assert fixed.seen == [["query: 甲"], ["passage: 乙"]]

    def test_nothing_asked_nothing_sent(self):
        fixed = Fixed()
        assert list(fixed.passages([])) == []
        assert fixed.seen == []

    def test_refuses_another_dimension_for_good(self):
        with pytest.raises(ModelError, match=r"fixed.*3.*2") as caught:
            Fixed([1, 2, 3]).query("甲")
        assert caught.value.permanent

    @pytest.mark.parametrize("bad", [[0, 0], [math.nan, 1], [math.inf, 1]])
    def test_refuses_a_vector_without_direction(self, bad):
        with pytest.raises(ModelError):
            Fixed(bad).query("甲")

    def test_refuses_too_few_vectors(self):
        with pytest.raises(ModelError) as caught:
            list(Fixed([1, 0]).passages(["甲", "乙"]))
        assert not caught.value.permanent

    def test_looks_at_tokens_as_long_as_there_is_time(self):
        letters = Letters()
        every = letters.colbert("abc", ["abc", "xyz", "axx"] * 4, seconds=60)
        assert every == pytest.approx([1, 0, 1 / 3] * 4)
        assert [len(batch) for batch in letters.seen] == [1, 4, 4, 4]
        assert letters.colbert("abc", ["abc", "xyz", "axx"] * 4, seconds=0) == every[:4]


class Letters(Embedder):
    """Each letter a token, and each token like itself alone."""

    def __init__(self):
        super().__init__("letters", 128)
        self.seen = []

    def token_vectors(self, texts):
        self.seen.append(texts)
        return [np.eye(128)[[ord(letter) for letter in text]] for text in texts]


@pytest.mark.django_db  # that it is left alone is written down
class TestOpenAIEmbedder:
    def test_asks_as_the_protocol_wants(self, server, embedder):
        assert encoded(embedder) == [unit(vector(text, 8)) for text in TEXTS]
        headers, body = server.requests[0]
        assert headers["Authorization"] == "Bearer key"
        assert body == {"model": "some-model", "input": TEXTS, "encoding_format": "float"}

    @pytest.mark.parametrize("shape", ["base64", "shuffled"])
    def test_reads_what_servers_send(self, server, embedder, shape):
        server.script = [shape]
        assert encoded(embedder) == [unit(vector(text, 8)) for text in TEXTS]

    @pytest.mark.parametrize("trouble", [429, 500, 503, "short", "garbage", "hang up"])
    def test_tries_again_what_may_pass(self, server, embedder, trouble):
        server.script = [trouble]
        assert embedder.query("甲").vector == unit(vector("甲", 8))
        assert len(server.requests) == 2

    @pytest.mark.parametrize("trouble", [429, "short", "garbage", "hang up"])
    def test_gives_up_with_a_sentence(self, server, embedder, trouble):
        server.script = [trouble] * 3
        with pytest.raises(ModelError) as caught:
            embedder.query("甲")
        assert not caught.value.permanent
        assert len(server.requests) == 3

    @pytest.mark.parametrize("status", [400, 401, 404, 413])
    def test_a_refusal_is_final(self, server, embedder, status):
        server.script = [status]
        with pytest.raises(ModelError, match=f"{status}.*scripted {status}") as caught:
            embedder.query("甲")
        assert caught.value.permanent
        assert len(server.requests) == 1

    def test_another_dimension_is_a_clear_error(self, server):
        wrong = OpenAIEmbedder("some-model", 16, base_url=server.url)
        with pytest.raises(ModelError, match=r"some-model.*8.*16") as caught:
            wrong.query("甲")
        assert caught.value.permanent

    def test_leaves_a_failing_server_alone(self, server, embedder):
        server.script = [500] * 5
        for _ in range(3):
            with pytest.raises(ModelError):
                embedder.query("甲")
        assert len(server.requests) == 3

    @pytest.mark.parametrize("trouble", ["silent", "drip"])
    def test_a_question_waits_no_longer_than_it_may(self, server, embedder, settings, trouble):
        settings.EMBED_SECONDS = 0.3
        server.script = [trouble] * 9
        begun = time.monotonic()
        with pytest.raises(ModelError):
            embedder.query("甲")
        assert time.monotonic() - begun < 15

    def test_refusals_do_not_close_the_door(self, server, embedder):
        server.script = [400] * 6
        for _ in range(6):
            with pytest.raises(ModelError):
                embedder.query("甲")
        assert embedder.query("甲").vector == unit(vector("甲", 8))

    def test_nobody_there(self):
        with socket.socket() as taken:  # bound but not listening: connections are refused
            taken.bind(("127.0.0.1", 0))
            absent = OpenAIEmbedder(
                "m", 8, base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
            )
            with pytest.raises(ModelError) as caught:
                absent.query("甲")
        assert not caught.value.permanent


class TestFlagEmbedderWithoutWeights:
    def test_a_missing_folder_is_named(self, tmp_path):
        with pytest.raises(ModelError, match="OPSDESK_MODEL_DIR") as caught:
            FlagEmbedder("BAAI/bge-m3", folder=str(tmp_path / "absent")).query("甲")
        assert str(tmp_path / "absent") in str(caught.value)
        assert caught.value.permanent


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
    """A folder shaped like bge-m3's (XLM-RoBERTa, tokenizer, two heads), tiny and random."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    folder = tmp_path_factory.mktemp("bge-m3")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    characters = sorted({*"".join(TEXTS), *"abcdefghijklmnopqrstuvwxyz▁"})
    vocabulary = [(token, 0.0) for token in special] + [(letter, -2.0) for letter in characters]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=514,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    XLMRobertaModel(config).save_pretrained(folder)
    torch.save(torch.nn.Linear(32, 32).state_dict(), folder / "colbert_linear.pt")
    torch.save(torch.nn.Linear(32, 1).state_dict(), folder / "sparse_linear.pt")
    return folder


@pytest.fixture(scope="module")
def own(flag, checkpoint):
    """What the library says itself."""
    model = flag.BGEM3FlagModel(str(checkpoint), use_fp16=False, devices="cpu")
    made = model.encode(TEXTS, max_length=512, return_sparse=True, return_colbert_vecs=True)
    return made | {"score": model.colbert_score}


@pytest.mark.bge
class TestFlagEmbedder:
    @pytest.fixture
    def embedder(self, checkpoint):
        return FlagEmbedder("tiny", 32, folder=str(checkpoint), max_tokens=512)

    def test_gives_the_dense_vectors(self, embedder, own):
        made = encoded(embedder)
        assert made == [pytest.approx(row, abs=1e-5) for row in own["dense_vecs"].tolist()]
        assert made[0] != made[1]

    def test_gives_the_learned_weights_with_them(self, embedder, own):
        made = [meaning.weights for meaning in embedder.passages(TEXTS)]
        for weights, expected in zip(made, own["lexical_weights"], strict=True):
            assert weights == pytest.approx({int(token): w for token, w in expected.items()})
            assert all(weight > 0 for weight in weights.values())
        assert all(made)
        assert embedder.query(TEXTS[0]).weights == pytest.approx(made[0])

    def test_gives_the_late_interaction(self, embedder, own):
        scores = embedder.colbert(TEXTS[0], TEXTS, seconds=60)
        vectors = own["colbert_vecs"]
        expected = [float(own["score"](vectors[0], one)) for one in vectors]
        assert scores == pytest.approx(expected, abs=1e-5)
        assert scores[0] == max(scores) == pytest.approx(1.0, abs=1e-5)

    def test_fills_an_index_and_is_asked(self, checkpoint, settings, db):
        config = {
            "BACKEND": "knowledge.embedders.FlagEmbedder",
            "OPTIONS": {
                "model": "tiny", "dimensions": 32, "folder": str(checkpoint), "max_tokens": 512,
            },
        }  # fmt: skip
        settings.EMBEDDERS, settings.EMBEDDER = {"bge-m3": config}, "bge-m3"
        settings.BACKENDS = {"embedder": config}
        base = documents.base()
        for text in TEXTS:
            documents.put(base, text)
        index = embedding.create()
        assert embedding.advance(index.pk, 60)
        meaning = embedding.embedder_of(index).query(TEXTS[0])
        near = dense.nearest_in(TEXTS[0], [base.pk], 5)
        assert len(near.stages["dense"]) == len(near.stages["sparse"]) == len(TEXTS)
        for chunk in Chunk.objects.select_related("document"):
            (passage,) = embedding.embedder_of(index).passages(
                [lexical.passage_text(chunk.document.title, chunk)]
            )
            product = sum(
                weight * passage.weights.get(token, 0) for token, weight in meaning.weights.items()
            )
            assert near.stages["sparse"][chunk.pk] == pytest.approx(product, rel=1e-4)
        assert dense.colbert(index, TEXTS[0], TEXTS, 60)[0] == pytest.approx(1.0, abs=1e-5)

    def test_loads_once_for_all_threads(self, checkpoint, monkeypatch):
        embedder = FlagEmbedder("tiny", 32, folder=str(checkpoint), max_tokens=512)
        loads = []
        load = embedder._load
        monkeypatch.setattr(embedder, "_load", lambda: loads.append(1) or load())
        made = {}
        threads = [
            threading.Thread(target=lambda i=i: made.update({i: embedder.query(TEXTS[0])}))
            for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(loads) == 1
        assert all(made[i].vector == pytest.approx(made[0].vector) for i in range(4))

    def test_the_settings_must_say_the_dimensions(self, checkpoint):
        with pytest.raises(ModelError, match=r"32.*1024") as caught:
            FlagEmbedder("tiny", 1024, folder=str(checkpoint), max_tokens=512).query("甲")
        assert caught.value.permanent

    def test_broken_weights_are_named(self, checkpoint, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}))
        with pytest.raises(ModelError, match="OPSDESK_MODEL_DIR"):
            FlagEmbedder("tiny", folder=str(tmp_path)).query("甲")

    def test_no_weights_and_no_hub(self, flag, monkeypatch):
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(ModelError, match="no-such/model") as caught:
            FlagEmbedder("no-such/model").query("甲")
        assert not caught.value.permanent

import math

import pytest
from django.utils import timezone
from rank_bm25 import BM25Okapi

from knowledge import embedding, indexing, lexical, postings, retrieval, terms, weighing
from knowledge.embedders import Embedder
from knowledge.models import Chunk, Document, Embedding, Lexicon
from opsdesk.errors import ModelError
from tests.knowledge import documents

pytestmark = pytest.mark.django_db

CORPUS = [
    "重启 nginx 服务：systemctl restart nginx，重启前检查配置",
    "ORA-01555 快照过旧，增大 undo 表空间",
    "kubectl get pods -n kube-system 查看系统组件",
    "数据库备份：每天凌晨备份一次，备份保留七天",
    "磁盘空间不足时清理日志，或扩容磁盘",
    "安全组没有放行端口，导致连接超时",
    "证书过期以后浏览器提示不安全，更换证书",
    "主从复制延迟：检查网络与大事务，备份不要放在主库",
]
QUERIES = [
    "备份保留几天",
    "重启 nginx 之前要做什么",
    "ORA-01555",
    "不安全的端口",
    "磁盘",
    "kube-system 组件",
]


class LuceneBM25(BM25Okapi):
    """The library's BM25 with Lucene's idf."""

    def _calc_idf(self, nd):
        self.idf = {
            term: math.log(1 + (self.corpus_size - n + 0.5) / (n + 0.5)) for term, n in nd.items()
        }


def independent_scores(texts, query):
    """The score of each text, by rank_bm25 view by view."""
    asked = terms.query_terms(query)
    scores = [0.0] * len(texts)
    for view, weight in (("words", 1.0), ("bigrams", 0.3), ("unigrams", 1.0)):
        ranker = LuceneBM25(
            [list(terms.views(text)[view].elements()) for text in texts], k1=1.6, b=0.9
        )
        for term, share in asked[view].items():
            for n, score in enumerate(ranker.get_scores([term])):
                scores[n] += weight * share * score
    return scores


def scores_by_text(found):
    return {passage.text: passage.scores["words"] for passage in found.passages}


@pytest.fixture
def base():
    made = documents.base()
    for n, text in enumerate(CORPUS):
        documents.put(made, text, external_id=f"d{n}")
    indexing.reindex(made)
    return made


@pytest.mark.parametrize("query", QUERIES)
def test_the_ranking_is_that_of_an_independent_bm25(base, query):
    expected = independent_scores(["\n".join(("", "", text)) for text in CORPUS], query)
    wanted = {text: score for text, score in zip(CORPUS, expected, strict=True) if score > 0}
    found = retrieval.search(query, [base], top_k=20)
    assert scores_by_text(found) == pytest.approx(wanted, rel=1e-4)
    assert [passage.text for passage in found.passages] == sorted(
        wanted, key=wanted.__getitem__, reverse=True
    )


def test_scores_are_shares_in_the_order_of_the_ranking(base):
    for query in QUERIES:
        scores = [passage.score for passage in retrieval.search(query, [base], 20).passages]
        assert scores == sorted(scores, reverse=True)
        assert all(0 < score <= 1 for score in scores)


def test_the_words_that_hit_are_named(base):
    best = retrieval.search("ORA-01555 怎么解决", [base]).passages[0]
    assert best.hits[0] == "ora-01555"
    assert best.external_id == "d1"


@pytest.mark.parametrize("query", ["", "  \n", "？！", "\x00", "龘靐齉 zzzz-9999"])
def test_a_question_without_known_terms_finds_nothing(base, query):
    found = retrieval.search(query, [base])
    assert found.passages == []
    assert found.confidence == 0.0


def test_no_base_finds_nothing():
    assert retrieval.search("备份", []).passages == []


def test_a_very_long_question_is_answered(base):
    long = "".join(map(chr, range(0x4E00, 0x4E00 + 9_990))) + "ORA-01555"
    assert retrieval.search(long, [base]).passages


def test_a_word_among_thousands_of_others_counts(base):
    log = " ".join(f"trace{n:05x}" for n in range(900)) + " ORA-01555"
    assert retrieval.search(log, [base]).passages[0].external_id == "d1"


def test_bases_asked_together_add_up_their_counts(base):
    other = documents.base("other")
    documents.put(other, "备份文件放在异地")
    asked = weighing.query("备份", [base.pk, other.pk])
    assert asked.chunks == len(CORPUS) + 1
    assert asked.counts[weighing.key("words", "备份")] == 3
    found = retrieval.search("备份", [base, other]).passages
    assert {passage.knowledge_base_id for passage in found} == {base.pk, other.pk}
    assert all(p.knowledge_base_id == other.pk for p in retrieval.search("备份", [other]).passages)


def test_what_is_hidden_is_not_found_and_keeps_the_worth_of_words(base):
    before = weighing.query("备份", [base.pk])
    scores = scores_by_text(retrieval.search("备份", [base]))
    Chunk.objects.filter(text=CORPUS[3]).update(enabled=False)
    assert weighing.query("备份", [base.pk]) == before
    assert scores_by_text(retrieval.search("备份", [base])) == {CORPUS[7]: scores[CORPUS[7]]}


def test_what_nobody_has_approved_is_not_found(base):
    document = documents.put(base, "灰度发布流程", approved=False)
    assert "灰度发布流程" not in scores_by_text(retrieval.search("灰度发布流程", [base]))
    Document.objects.filter(pk=document.pk).update(approved_at=timezone.now())
    assert "灰度发布流程" in scores_by_text(retrieval.search("灰度发布流程", [base]))


def test_title_and_headings_are_searched(base):
    documents.put(base, "见附件。", title="灰度发布手册")
    assert retrieval.search("灰度发布", [base]).passages[0].title == "灰度发布手册"


def test_above_the_limit_the_best_are_the_same(base, monkeypatch):
    exact = {query: scores_by_text(retrieval.search(query, [base])) for query in QUERIES}
    monkeypatch.setattr(lexical, "EXACT_CHUNKS", 0)
    postings.merge(base.pk)
    for query in QUERIES:
        found = scores_by_text(retrieval.search(query, [base]))
        assert found.items() <= exact[query].items()
        assert next(iter(found)) == next(iter(exact[query]))


def test_a_base_of_empty_documents_is_no_trouble():
    base = documents.base()
    documents.put(base, "")
    assert retrieval.search("备份", [base]).passages == []
    assert all(mean == 0 for mean in Lexicon.objects.get(pk=base.pk).means)


class Meaning(Embedder):
    """Knows a few words by their meaning, everything else as noise."""

    senses = (("宕机", "挂了", "死机"), ("磁盘", "硬盘"), ("备份",))
    fails = False

    def embed_batch(self, texts):
        if self.fails:
            raise ModelError("no answer", permanent=False)
        return [
            [1.0 * any(word in text for word in words) for words in self.senses] + [0.1]
            for text in texts
        ]


@pytest.fixture
def embedder(base, settings, monkeypatch):
    """Vectors answer as well; a class to make fail."""
    monkeypatch.setattr(Meaning, "fails", False)
    config = {
        "BACKEND": "tests.knowledge.test_retrieval.Meaning",
        "OPTIONS": {"model": "meaning", "dimensions": 4},
    }
    settings.EMBEDDERS, settings.EMBEDDER = {"meaning": config}, "meaning"
    settings.BACKENDS = {"embedder": config}
    documents.put(base, "主机挂了请先看带外管理口")
    index = embedding.create()
    assert embedding.advance(index.pk, 60)
    return Meaning


def test_what_only_the_vectors_find_is_found_beside_what_only_the_words_find(base, embedder):
    found = retrieval.search("kube-system 宕机", [base], top_k=20)
    assert found.mode == retrieval.HYBRID
    scores = {passage.text: passage.scores for passage in found.passages}
    assert scores["主机挂了请先看带外管理口"]["dense"] > 0.9
    assert scores["主机挂了请先看带外管理口"]["words"] < scores[CORPUS[2]]["words"]
    top = [passage.text for passage in found.passages[:2]]
    assert sorted(top) == sorted(["主机挂了请先看带外管理口", CORPUS[2]])


def test_fused_scores_are_shares_in_the_order_of_the_ranking(base, embedder):
    for query in [*QUERIES, "龘靐齉 死机"]:
        found = retrieval.search(query, [base], 20).passages
        scores = [passage.score for passage in found]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        assert len({passage.chunk_id for passage in found}) == len(found)


def test_without_the_embedder_words_answer_and_it_is_said(base, embedder, monkeypatch):
    monkeypatch.setattr(Meaning, "fails", True)
    found = retrieval.search("磁盘空间不足", [base])
    assert found.mode == retrieval.DEGRADED
    assert found.passages[0].text == CORPUS[4]
    assert "dense" not in found.passages[0].scores


def test_a_new_document_gets_its_vectors_with_its_words(base, embedder):
    document = documents.put(base, "硬盘报警")
    assert Embedding.objects.filter(chunk__document=document).count() == 1
    assert retrieval.search("磁盘", [base]).passages[0].scores["dense"] > 0.9


def test_questions_attached_to_a_chunk_are_found_by_their_meaning(base, embedder):
    chunk = Chunk.objects.get(text=CORPUS[5])
    chunk.questions = ["机器宕机了吗"]
    chunk.save()
    indexing.update_chunks(Chunk.objects.filter(pk=chunk.pk))
    assert embedding.advance(embedding.active().pk, 60)
    found = retrieval.search("挂了", [base], 20).passages
    dense = {passage.text: passage.scores["dense"] for passage in found}
    assert dense[CORPUS[5]] > 0.9


def test_nothing_hidden_is_found_by_its_vector(base, embedder):
    Chunk.objects.filter(text__contains="挂了").update(enabled=False)
    found = retrieval.search("死机", [base], top_k=20)
    assert not any("挂了" in passage.text for passage in found.passages)

import pytest
from django.core.exceptions import ValidationError

from knowledge import confidence, lexical, postings, retrieval, synonyms, weighing
from knowledge.models import KnowledgeBase, Term
from tests.knowledge import documents

pytestmark = pytest.mark.django_db

CORPUS = [
    "kubernetes 集群升级之前先备份 etcd",
    "k8s 集群扩容要先加节点",
    "数据库集群升级的步骤",
    "用堡垒机登录生产主机",
    "硬盘空间不足时清理日志",
    "打印机卡纸时打开后盖",
    "主机房的门禁由物业管理",
    "更换硬盘之后重建阵列，硬盘、硬盘背板和硬盘托架都要登记",
]


@pytest.fixture
def base():
    made = documents.base()
    for text in CORPUS:
        documents.put(made, text)
    return made


def term(base, canonical, *variants, **fields):
    Term.objects.create(knowledge_base=base, canonical=canonical, variants=list(variants), **fields)
    synonyms.changed([base.pk])


def texts(base, question):
    return [passage.text for passage in retrieval.search(question, [base], 50).passages]


def scores(base, question):
    found = retrieval.search(question, [base], 50).passages
    return {passage.text: passage.scores["words"] for passage in found}


def meant(base, question):
    return {one.written: one.canonical for one in synonyms.read(question, [base.pk]).meant}


def test_the_other_words_for_a_term_find_what_it_finds(base):
    assert texts(base, "jump server") == []
    term(base, "堡垒机", "跳板机", "Jump Server")
    passage = retrieval.search("ｊｕｍｐ　SERVER", [base]).passages[0]
    assert passage.text == CORPUS[3]
    assert "堡垒" in passage.hits
    assert texts(base, "跳板机")[0] == CORPUS[3]


def test_who_says_the_exact_word_loses_no_score_and_no_place_to_the_like(base):
    questions = ["k8s 集群", "k8s 集群升级", "硬盘空间", "磁盘空间不足", "堡垒机登录", "升级"]
    before = {question: scores(base, question) for question in questions}
    term(base, "Kubernetes", "k8s", "kube")
    term(base, "磁盘", "硬盘", "盘")
    term(base, "堡垒机", "跳板机")
    for question in questions:
        after = scores(base, question)
        assert after.keys() >= before[question].keys()
        for text, score in before[question].items():
            assert after[text] >= score * (1 - 1e-6)
        assert all(0 < score <= 1 for score in
                   (p.score for p in retrieval.search(question, [base], 50).passages))  # fmt: skip


@pytest.mark.parametrize("words", [("k8s", "kubernetes"), ("硬盘", "磁盘"), ("堡垒机", "跳板机")])
@pytest.mark.parametrize("question", ["{}", "{}空间", "{} 怎么升级", "生产环境的{}"])
def test_of_two_alike_the_one_with_the_exact_word_comes_first(words, question):
    base = documents.base()
    for word in words:
        documents.put(base, f"{word} 升级以前先备份")
        documents.put(base, f"生产环境的 {word} 与空间")
    for n in range(6):  # one of the two is rarer
        documents.put(base, f"第 {n} 份记录讲 {words[0]}")
    term(base, *words)
    for word, other in (words, words[::-1]):
        ranks = {text: rank for rank, text in enumerate(texts(base, question.format(word)))}
        for text, rank in ranks.items():
            if word in text and (alike := text.replace(word, other)) in ranks:
                assert rank < ranks[alike]


def test_alternatives_count_as_the_best_of_them_not_as_their_sum(base):
    both = "kubernetes 又叫 k8s，也写作 kube"
    documents.put(base, both)
    alone = scores(base, "k8s")[both]
    others = max(scores(base, word)[both] for word in ("kubernetes", "kube"))
    term(base, "Kubernetes", "k8s", "kube")
    assert scores(base, "k8s")[both] <= max(alone, others) * (1 + 1e-6)


def test_a_rare_word_for_a_common_one_weighs_no_more_than_it(base):
    for n in range(5):
        documents.put(base, f"硬盘巡检第 {n} 次")
    documents.put(base, "RAID 卡告警")
    term(base, "硬盘", "RAID 卡")
    asked = weighing.query("硬盘", [base.pk], synonyms.read("硬盘", [base.pk]))
    (group,) = asked.groups
    (worth,) = group.others.values()
    assert sum(worth.values()) <= sum(group.own.values()) * (1 + 1e-6)


def test_a_passage_in_other_words_is_as_sure_as_in_the_same(base):
    sure = retrieval.search("堡垒机登录", [base]).confidence
    unsure = retrieval.search("跳板机登录", [base]).confidence
    term(base, "堡垒机", "跳板机")
    again = retrieval.search("跳板机登录", [base])
    assert unsure < again.confidence
    assert again.confidence == pytest.approx(sure, abs=0.1)
    features = confidence.features(again.asked, again.passages)
    assert features["coverage"] == pytest.approx(1.0)
    assert retrieval.search("堡垒机登录", [base]).confidence == pytest.approx(sure, abs=1e-6)


def test_words_end_where_they_end(base):
    term(base, "elasticsearch", "es")
    term(base, "服务器", "主机")
    term(base, "磁盘", "硬盘")
    assert meant(base, "test 怎么写") == {}
    assert meant(base, "ES集群") == {"es": "elasticsearch"}
    assert meant(base, "es_data 和 (es)") == {"es": "elasticsearch"}
    assert meant(base, "主机挂了") == {"主机": "服务器"}
    assert meant(base, "这两台主 机") == {}
    assert meant(base, "服务器主机") == {}  # said in both ways: told apart
    assert meant(base, "磁盘阵列，磁盘") == {"磁盘": "磁盘"}


def test_the_longest_of_several_terms_counts(base):
    term(base, "数据库", "DB")
    term(base, "数据库集群", "RAC")
    assert meant(base, "数据库集群") == {"数据库集群": "数据库集群"}
    assert meant(base, "数据库集群的数据库") == {"数据库集群": "数据库集群", "数据库": "数据库"}


def test_a_word_that_is_said_twice_counts_once(base):
    before = scores(base, "k8s")
    term(base, "Kubernetes", "k8s")
    assert scores(base, "k8s，还是 k8s")[CORPUS[1]] >= before[CORPUS[1]] * (1 - 1e-6)
    (group,) = weighing.query("k8s k8s", [base.pk], synonyms.read("k8s k8s", [base.pk])).groups
    assert group.own


def test_candidates_come_from_the_other_words_too(base, monkeypatch):
    term(base, "堡垒机", "跳板机")
    monkeypatch.setattr(lexical, "EXACT_CHUNKS", 0)
    postings.merge(base.pk)
    assert texts(base, "跳板机")[0] == CORPUS[3]


def test_only_enabled_terms_of_the_asked_bases_count(base):
    other = documents.base("other")
    documents.put(other, "用堡垒机登录")
    term(base, "堡垒机", "跳板机")
    assert meant(other, "跳板机") == {}
    assert synonyms.read("跳板机", [base.pk, other.pk]).meant
    Term.objects.update(enabled=False)
    synonyms.changed([base.pk])
    assert meant(base, "跳板机") == {}


@pytest.mark.django_db(transaction=True)
def test_what_is_kept_of_a_list_follows_it():
    base = KnowledgeBase.objects.create(slug="ops", name="ops")
    assert meant(base, "跳板机") == {}
    term(base, "堡垒机", "跳板机")
    assert meant(base, "跳板机") == {"跳板机": "堡垒机"}
    Term.objects.update(enabled=False)
    assert meant(base, "跳板机") == {"跳板机": "堡垒机"}  # kept, until the base has changed
    synonyms.changed([base.pk])
    assert meant(base, "跳板机") == {}


@pytest.mark.parametrize(
    ("canonical", "variants", "field"),
    [
        ("盘", [], "canonical"),
        ("磁盘", ["  "], "variants"),
        ("磁盘", ["、，"], "variants"),
        ("Ｋ８Ｓ", ["k8s"], "variants"),
        ("磁盘", ["硬盘", "硬盘 "], "variants"),
        ("磁盘", ["跳板机"], "variants"),
        ("jump  server", [], "canonical"),
    ],
)
def test_what_contradicts_itself_is_refused(base, canonical, variants, field):
    term(base, "堡垒机", "跳板机", "Jump Server")
    with pytest.raises(ValidationError) as refused:
        synonyms.check(Term(knowledge_base=base, canonical=canonical, variants=variants))
    assert list(refused.value.message_dict) == [field]


def test_a_word_of_another_term_is_refused_with_its_name(base):
    term(base, "堡垒机", "跳板机")
    with pytest.raises(ValidationError, match="堡垒机"):
        synonyms.check(Term(knowledge_base=base, canonical="网关", variants=["跳板机"]))
    synonyms.check(Term.objects.get())
    synonyms.check(
        Term(knowledge_base=documents.base("other"), canonical="网关", variants=["跳板机"])
    )

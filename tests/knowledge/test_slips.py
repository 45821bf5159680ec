import pytest
from django.utils import timezone

from knowledge import curating, indexing, retrieval, slips, vocabulary
from knowledge.models import Chunk, Vocabulary
from tests.knowledge import documents

pytestmark = pytest.mark.django_db


@pytest.fixture
def base():
    return documents.base()


def test_what_stands_in_the_asked_bases_is_known(base):
    other = documents.base("other")
    documents.put(base, "用 kubectl get pods 查看状态，Jump Server 在堡垒机上，路径 etc/fstab")
    documents.put(other, "EMQX 的消息队列")
    asked = ["Kubectl", "ｋｕｂｅｃｔｌ", "EMQX", "jump server", "jump EMQX", "fstab"]
    asked += ["堡垒机", "跳板", "？"]
    assert slips.known(asked, [base.pk]) == {
        "Kubectl",
        "ｋｕｂｅｃｔｌ",
        "jump server",
        "fstab",
        "堡垒机",
    }
    assert {"EMQX", "消息队列"} <= slips.known([*asked, "消息队列"], [base.pk, other.pk])
    assert slips.known(asked, []) == set()


CORPUS = [
    "用 kubectl get pods 查看状态，kubectl 要有权限",
    "nginx 反向代理返回 502 时看 upstream，nginx 要重启",
    "elasticsearch 集群变红时先看分片",
    "内存不足时容器被杀，内存要加大",
    "数据库的副本集选举需要多数节点，副本集有三个节点",
    "服务器重启之后检查磁盘空间，磁盘空间不足就清理日志",
    "innodb_buffer_pool_size 设为内存的七成，buffer 另算",
]


@pytest.fixture
def ops(base):
    documents.put_many(base, *CORPUS)
    renew(base)
    return base


def renew(base):
    assert vocabulary.renew(base.pk, timezone.now())


def mended(base, question):
    return slips.mend(question, [base.pk]).text


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("kubectrl get pods 报错", "kubectl get pods 报错"),
        ("nignx 返回 502", "nginx 返回 502"),
        ("ｎｉｇｎｘ　返回　５０２", "nginx 返回 502"),
        ("Elastisearch 变红", "elasticsearch 变红"),
        ("elastcisearhc 变红", "elasticsearch 变红"),  # two slips in a long word
        ("innodb_bufer_pool_size 设多少", "innodb_buffer_pool_size 设多少"),
        ("内寸不足", "内存不足"),
        ("服物器怎么重启", "服务器怎么重启"),
        ("副本级选举", "副本集选举"),
        ("neicun buzu", "内存不足"),
        ("nei cun 加大", "内存 加大"),
        ("shujuku 选举", "数据库 选举"),
    ],
)
def test_a_slip_is_read_as_the_word_that_is_meant(ops, written, meant):
    assert mended(ops, written) == meant


@pytest.mark.parametrize(
    "question",
    [
        "kubectl get pods 报错",  # known
        "NGINX 返回 502",
        "ＮＧＩＮＸ　返回 502",
        "ORA-01555",
        "NIGNX",  # as error codes are written
        "nginx1 nignx2 v1.28.3 0xdeadbeef 10.0.0.1",
        "/etc/nignx/nignx.conf 和 nignx.example.com 和 root@nignx",
        "“内寸不足”和 `nignx` 和 'kubectrl' 是什么",
        "內存不足",  # traditional characters are no slip
        "Nacos 和 EMQX 怎么部署",  # products that the base does not know
        "今天天气怎么样",
        "",
    ],
)
def test_what_may_be_meant_as_it_is_written_stays(ops, question):
    assert slips.mend(question, [ops.pk]) == (question, [])


def test_of_two_readings_as_likely_neither_is_taken(base):
    documents.put_many(base, "proxyv 的配置", "proxyn 的配置")
    renew(base)
    assert mended(base, "proxyb 的配置") == "proxyb 的配置"
    documents.put_many(base, *["proxyn 的配置"] * 3)
    assert mended(base, "proxyb 的配置") == "proxyn 的配置"


def test_only_the_words_of_the_asked_bases_are_meant(ops):
    other = documents.base("other")
    documents.put(other, "打印机卡纸")
    renew(other)
    assert mended(other, "kubectrl 和内寸不足") == "kubectrl 和内寸不足"
    both = [other.pk, ops.pk]
    assert slips.mend("kubectrl 和内寸加大", both).slips == [
        ("kubectrl", "kubectl"),
        ("内寸", "内存"),
    ]


def test_a_word_that_is_gone_is_not_meant_and_a_new_one_is_found(ops):
    gone = Chunk.objects.get(text__startswith="elasticsearch").document
    indexing.remove(gone)
    assert mended(ops, "elastisearch") == "elastisearch"  # the vocabulary is behind
    documents.put(ops, "zookeeper 的会话")
    renew(ops)
    assert mended(ops, "zokeeper 的会话") == "zookeeper 的会话"
    assert "elasticsearch" not in ops.vocabulary.words.splitlines()


def test_an_edited_passage_is_read_again(ops):
    chunk = Chunk.objects.get(text__startswith="elasticsearch")
    curating.edit(chunk.pk, text="opensearch 集群变红", user=None)
    renew(ops)
    assert mended(ops, "opensaerch 变红") == "opensearch 变红"


def test_the_clock_reads_what_has_changed_and_settled(ops, monkeypatch):
    documents.put(ops, "zookeeper 的会话")
    vocabulary.renew_all()
    assert "zookeeper" not in Vocabulary.objects.get().words  # it may not be committed yet
    monkeypatch.setattr(vocabulary, "SETTLED", -vocabulary.SETTLED)
    vocabulary.renew_all()
    kept = Vocabulary.objects.get()
    assert "zookeeper" in kept.words.splitlines()
    ops.refresh_from_db()
    assert kept.version == ops.version


def test_much_is_read_in_several_goes(base, monkeypatch):
    monkeypatch.setattr(vocabulary, "DOCUMENTS", 2)
    for word in ("kafka", "redis", "mysql"):
        documents.put(base, word)
    now = timezone.now()
    assert not vocabulary.renew(base.pk, now)
    assert vocabulary.renew(base.pk, now)
    assert set(Vocabulary.objects.get().words.splitlines()) == {"kafka", "redis", "mysql"}


def test_what_no_date_tells_is_read_at_night(ops):
    indexing.rename(Chunk.objects.get(text__startswith="nginx").document_id, "openresty")
    renew(ops)
    assert "openresty" not in Vocabulary.objects.get().words
    vocabulary.read_again()
    renew(ops)
    assert "openresty" in Vocabulary.objects.get().words.splitlines()


def test_the_words_go_with_their_base(ops):
    ops.delete()
    assert not Vocabulary.objects.exists()


def test_a_search_says_what_it_read_otherwise(ops):
    found = retrieval.search("内寸不足怎么办", [ops])
    assert found.mended == [("内寸不足", "内存不足")]
    assert found.query == "内存不足怎么办"
    assert found.passages[0].text.startswith("内存不足")
    plain = retrieval.search("内寸不足怎么办", [ops], mend=False)
    assert plain.mended == []
    assert plain.confidence < found.confidence

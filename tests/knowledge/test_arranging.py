import pytest

from knowledge import arranging, indexing, retrieval
from knowledge.models import Document
from knowledge.parsing.document import Block, ParsedDocument
from tests.knowledge import documents

pytestmark = pytest.mark.django_db
BACKUP = (
    "数据库备份每天凌晨两点执行，备份文件先写到本机磁盘，再同步到异地机房，保留三十天，"
    "超过期限的备份由清理任务删除，值班人员每周抽查一次恢复。"
)


@pytest.fixture
def base():
    return documents.base()


def texts(passages):
    return [passage.text for passage in passages]


def asked(base, question="数据库备份保留多久"):
    return retrieval.search(question, [base])


@pytest.mark.parametrize("copy", [BACKUP, BACKUP.replace("，", " , "), BACKUP + "。谢谢"])
def test_what_says_the_same_comes_once(base, copy):
    documents.put(base, BACKUP)
    documents.put(base, copy)
    documents.put(base, "磁盘空间不足时删除旧备份")
    found = asked(base)
    assert sum(text.startswith("数据库备份每天") for text in texts(found.passages)) == 1
    assert len(found.passages) == 2
    assert list(found.left_out.values()) == [arranging.DUPLICATE]


@pytest.mark.parametrize(
    ("one", "other"), [({"version": "5.7"}, {"version": "8.0"}), ({}, {"product": "TiDB"})]
)
def test_what_another_product_or_version_says_stays(base, one, other):
    for fields in (one, other):
        documents.put(base, BACKUP, **fields)
    assert texts(asked(base).passages) == [BACKUP, BACKUP]


@pytest.mark.parametrize(
    ("this", "that"), [("三十天", "30 天"), ("两点", "两点（db-01）"), ("三十天", "四十天")]
)
def test_what_differs_in_a_number_or_a_name_stays(base, this, that):
    documents.put(base, BACKUP)
    documents.put(base, BACKUP.replace(this, that))
    assert len(asked(base).passages) == 2


def test_so_many_and_so_much(base, settings):
    settings.PASSAGES, settings.PASSAGE_CHARACTERS = 3, 500
    documents.put(base, "数据库备份保留多久：一周")
    documents.put(base, "数据库备份保留多久：" + "，".join(f"第 {n} 类见表" for n in range(60)))
    for name in ("订单", "库存", "会员"):
        documents.put(base, f"{name}系统的备份保留一周，由{name}组负责恢复演练")
    found = asked(base)
    assert len(found.passages) == 3
    assert sum(map(len, texts(found.passages))) <= 500
    assert list(found.left_out.values()) == [arranging.LONG]
    assert len(retrieval.search("数据库备份保留多久", [base], 5).passages) == 5  # the ranking


def test_the_best_one_comes_however_long_it_is(base, settings):
    settings.PASSAGE_CHARACTERS = 10
    documents.put(base, BACKUP)
    assert texts(asked(base).passages) == [BACKUP]


def test_neighbours_are_read_in_their_order(base):
    parts = [
        "巡检前准备：领取工具",
        "磁盘巡检：查看磁盘告警，更换磁盘前通知值班",
        "磁盘更换后：核对磁盘序列号",
    ]
    document = Document.objects.create(
        knowledge_base=base, title="巡检", approved_at=documents.put(base, "网络").approved_at
    )
    blocks = [Block("paragraph", part + "，记录在册。" * 150) for part in parts]
    indexing.put(documents.revision(document), ParsedDocument(blocks=blocks))
    documents.put(base, "更换磁盘")
    ranked = asked(base, "更换磁盘 核对磁盘序列号").passages
    read = arranging.together(ranked)
    assert {one.chunk_id for one in read} == {one.chunk_id for one in ranked}
    mine = [one.document_id == document.pk for one in ranked]
    assert [one.position for one in ranked if one.document_id == document.pk] == [1, 0]
    places = [place for place, one in enumerate(read) if one.document_id == document.pk]
    assert [read[place].position for place in places] == [0, 1]
    assert places == [mine.index(True), mine.index(True) + 1]

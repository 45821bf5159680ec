import hashlib
import threading

import pytest
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.db import connections
from django.utils import timezone

from chat import runner
from chat.models import Conversation
from knowledge import indexing
from knowledge.models import Document, KnowledgeBase, Revision
from knowledge.parsing.document import Block, ParsedDocument
from tests.chat.fake_model import FakeModel

DISK = (
    """磁盘使用率超过 90% 时，先用 `df -h` 找出满的分区。再用 `du -sh /var/log/*` 找出大的日志。"""
)
REDIS = """Redis 主从切换由哨兵完成，故障转移的超时参数是 failover-timeout，默认 180000 毫秒。"""
BACKUP = """数据库每天 02:30 全量备份，备份文件保存在 /data/backup 目录，保留 14 天。"""
# Asked of places that say about the same, so that a choice is offered.
QUESTION = "堡垒机密码过期后怎么处理"
PLACES = ("机房一", "机房二", "办公网", "测试环境", "开发环境", "容灾中心", "分支机构", "云上")


def put(base, title, *blocks, external_id=""):
    """A document with these blocks, indexed."""
    [document] = put_all(base, (title, blocks, external_id))
    document.refresh_from_db()
    return document


def put_all(base, *documents):
    """One for each (title, blocks, external id), indexed together."""
    now, revisions = timezone.now(), []
    made = Document.objects.bulk_create(
        Document(knowledge_base=base, title=title, external_id=external_id, approved_at=now)
        for title, _blocks, external_id in documents
    )
    for document, (title, blocks, _external_id) in zip(made, documents, strict=True):
        content = "\n".join(block.text for block in blocks).encode()
        document.latest = revision = Revision(
            document=document, name=f"{title}.md", media_type="text/markdown",
            size=len(content), sha256=hashlib.sha256(content).hexdigest(),
        )  # fmt: skip
        revision.file.save(revision.name, ContentFile(content), save=False)
        revisions.append(revision)
    Revision.objects.bulk_create(revisions)
    Document.objects.bulk_update(made, ["latest"])
    parsed = [ParsedDocument(title=title, blocks=list(blocks)) for title, blocks, _ in documents]
    indexing.put_all([
        (revision, indexing.prepare(one.title, one))
        for revision, one in zip(revisions, parsed, strict=True)
    ])  # fmt: skip
    return made


def fill(base):
    runbooks = [
        (
            title,
            [Block("heading", title, level=1), Block("paragraph", text)],
            f"runbooks/{title}",
        )
        for title, text in (("磁盘空间", DISK), ("Redis 哨兵", REDIS), ("数据库备份", BACKUP))
    ]
    others = [  # something the words can be rare among
        (
            f"值班手册 {n}",
            [Block("paragraph", f"第 {n} 组值班人员负责机房巡检，填写巡检表格并交接。")],
            "",
        )
        for n in range(12)
    ]
    put_all(base, *runbooks, *others)


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"


@pytest.fixture
def base(db):
    base = KnowledgeBase.objects.create(
        slug="ops", name="运维手册", audience=KnowledgeBase.Audience.VISITORS
    )
    fill(base)
    return base


@pytest.fixture
def places(base):
    text = "堡垒机密码过期后处理：联系{}负责人重置。"
    blocks = {name: [Block("paragraph", text.format(name))] for name in PLACES}
    return put_all(base, *((f"{name}手册", said, "") for name, said in blocks.items()))


@pytest.fixture
def conversation(db):
    return Conversation.objects.create(visitor="v" * 32)


@pytest.fixture
def fake():
    """A model's server."""
    made = FakeModel()
    yield made
    made.close()


@pytest.fixture
def configured(fake, settings):
    """… that answers the questions."""
    options = {
        "base_url": fake.url,
        "api_key": "none",
        "model": "fake",
        "temperature": 0.2,
        "timeout": 10.0,
    }
    settings.BACKENDS = {
        **settings.BACKENDS,
        "llm": {"BACKEND": "chat.llms.OpenAIModel", "OPTIONS": options},
    }
    return fake


@pytest.fixture
def running():
    """A runner in a thread, for tests with transaction=True."""
    made = runner.Runner(threads=2)

    def run():
        made.run()
        connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    yield made
    made.stop()
    thread.join(60)
    assert not thread.is_alive()


def permission(name):
    app, codename = name.split(".")
    return Permission.objects.get(content_type__app_label=app, codename=codename)

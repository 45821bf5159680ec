"""Golden questions about a small base, and runs of them."""

import hashlib

from django.core.files.base import ContentFile
from django.utils import timezone

from evaluation import golden, running
from knowledge import indexing
from knowledge.models import Document, KnowledgeBase, Revision
from knowledge.parsing.document import Block, ParsedDocument
from tests.chat import conftest as chat
from tests.knowledge import documents

BACKUP = "数据库备份保存在哪个目录，保留多久？"
DISK = "磁盘使用率超过 90% 时先用什么命令？"
NOWHERE = "食堂周三的巡检菜单是什么？"


TEXTS = {"磁盘空间": chat.DISK, "数据库备份": chat.BACKUP} | {
    f"值班手册 {n}": f"第 {n} 组值班人员负责机房巡检，填写巡检表格并交接。" for n in range(4)
}


def small_base():
    """Two documents that are asked about among some that say something else, put in together."""
    base = documents.base(audience=KnowledgeBase.Audience.VISITORS)
    prepared = [(_revision(base, title, text), _read(title, text)) for title, text in TEXTS.items()]
    indexing.put_all(prepared)
    return base


def _read(title, text):
    blocks = [Block("heading", title, level=1), Block("paragraph", text)]
    return indexing.prepare(title, ParsedDocument(title=title, blocks=blocks))


def _revision(base, title, text):
    document = Document.objects.create(
        knowledge_base=base,
        title=title,
        external_id=f"runbooks/{title}",
        approved_at=timezone.now(),
    )
    content = f"# {title}\n\n{text}\n".encode()
    revision = Revision(
        document=document, name=f"{title}.md", media_type="text/markdown", size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
    revision.file.save(revision.name, ContentFile(content), save=False)
    revision.save()
    document.latest = revision
    document.save()
    return revision


def ask_about(base, user=None):
    """Two that are answered, one that is refused; all right as it is."""
    backup, disk = (Document.objects.get(title=title) for title in ("数据库备份", "磁盘空间"))
    approved = {"base": base, "user": user, "approved": True}
    return [
        golden.add(
            BACKUP, "manual", passages=[backup.chunks.get()], facts=["/data/backup"], **approved
        ),
        golden.add(DISK, "manual", documents=[disk], **approved),
        golden.add(NOWHERE, "manual", expected="refused", **approved),
    ]


def run(**overrides):
    """All golden questions, asked to the end with these settings."""
    return finished(running.prepare(running.plan(overrides)))


def finished(made):
    assert running.work(made, float("inf"))
    running.finish(made)
    made.refresh_from_db()
    return made


def came(made):
    """Of each question: its outcome, whether that is right, and why not."""
    return {row.question: (row.outcome, row.right, row.why) for row in made.results.all()}

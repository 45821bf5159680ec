import threading

import pytest
from django.db import DataError, connection, transaction

from knowledge import indexing, lexical, retrieval, weighing
from knowledge.models import Chunk, ChunkTerms, Document, KnowledgeBase, Lexicon, Status, TermCount
from knowledge.parsing.document import Asset, Block, ParsedDocument
from tests.knowledge import documents

pytestmark = pytest.mark.django_db


def counts(base):
    """What is kept of a base, and the same counted from its chunks."""
    kept = dict(
        TermCount.objects.filter(knowledge_base=base, chunks__gt=0).values_list("term", "chunks")
    )
    bags = [
        lexical.bag(lexical.passage_text(c.document.title, c))
        for c in Chunk.objects.filter(knowledge_base=base).select_related("document")
    ]
    counted = {}
    for bag in bags:
        for key in bag.keys.tolist():
            counted[key] = counted.get(key, 0) + 1
    lexicon = Lexicon.objects.get(pk=base.pk)
    lengths = [sum(view) for view in zip(*(bag.lengths for bag in bags), strict=True)] or [0, 0, 0]
    return (kept, lexicon.chunks, lexicon.lengths), (counted, len(bags), lengths)


def texts(base):
    return sorted(Chunk.objects.filter(knowledge_base=base).values_list("text", flat=True))


def found(base, query):
    return [passage.text for passage in retrieval.search(query, [base]).passages]


def test_what_is_copied_fails_as_what_is_inserted():
    """So that a worker takes a database that is lost for that, and not for a broken document."""
    document = documents.put(documents.base(), "重启服务")
    (chunk,) = document.chunks.all()
    chunk.pk, chunk.kind = None, "x" * 1000
    with pytest.raises(DataError), transaction.atomic():
        Chunk.objects.bulk_copy([chunk])
    assert texts(document.knowledge_base) == ["重启服务"]


def test_counts_follow_every_change():
    base = documents.base()
    first = documents.put(base, "重启 nginx 服务之前先备份配置")
    second = documents.put(base, "数据库备份每天执行，备份保存七天", title="备份制度")
    kept, counted = counts(base)
    assert kept == counted
    indexing.put(documents.revision(first), documents.parsed("停止 nginx 服务"))
    kept, counted = counts(base)
    assert kept == counted
    indexing.remove(second)
    kept, counted = counts(base)
    assert kept == counted
    assert lexical.recount(base.pk) == 0


def test_a_replacement_answers_from_the_moment_it_is_in():
    base = documents.base()
    document = documents.put(base, "旧版本：端口是 8080")
    waiting = documents.revision(document)
    assert found(base, "端口是多少") == ["旧版本：端口是 8080"]
    version = KnowledgeBase.objects.get(pk=base.pk).version
    indexing.put(waiting, documents.parsed("新版本：端口是 9090"))
    assert found(base, "端口是多少") == ["新版本：端口是 9090"]
    document.refresh_from_db()
    assert document.current == waiting
    waiting.refresh_from_db()
    assert waiting.status == Status.READY
    assert KnowledgeBase.objects.get(pk=base.pk).version > version


def test_a_failed_swap_leaves_the_old_version_answering(monkeypatch):
    base = documents.base()
    document = documents.put(base, "旧版本：端口是 8080")

    def fail(*args):
        raise ZeroDivisionError

    monkeypatch.setattr(lexical, "_count", fail)
    with pytest.raises(ZeroDivisionError):
        indexing.put(documents.revision(document), documents.parsed("新版本：端口是 9090"))
    monkeypatch.undo()
    assert texts(base) == ["旧版本：端口是 8080"]
    kept, counted = counts(base)
    assert kept == counted


def test_putting_twice_changes_nothing():
    base = documents.base()
    document = documents.put(base, "重启服务")
    before = texts(base), counts(base)
    indexing.put(document.current, documents.parsed("重启服务"))
    assert (texts(base), counts(base)) == before


def test_questions_attached_to_a_chunk_count_like_its_words():
    base = documents.base()
    document = documents.put(base, "用 df -h 找出满的分区，再清理日志")
    documents.put(base, "打印机卡纸时打开后盖")
    document.chunks.update(questions=["盘爆了咋整", "no space left on device"])
    indexing.update_chunks(document.chunks.all())
    for question in ("盘爆了", "no space left"):
        (passage,) = retrieval.search(question, [base]).passages
        assert passage.text == "用 df -h 找出满的分区，再清理日志"
        assert passage.hits
    kept, counted = counts(base)
    assert kept == counted


def test_an_older_revision_never_replaces_a_newer_one():
    base = documents.base()
    document = documents.put(base, "第一版")
    older, newer = documents.revision(document), documents.revision(document)
    indexing.put(newer, documents.parsed("第三版"))
    indexing.put(older, documents.parsed("第二版"))
    assert texts(base) == ["第三版"]
    older.refresh_from_db()
    assert older.status == Status.READY


def test_a_document_deleted_meanwhile_is_skipped():
    base = documents.base()
    document = documents.put(base, "重启服务")
    late = documents.revision(document)
    indexing.remove(document)
    Document.objects.filter(pk=document.pk).delete()
    indexing.put(late, documents.parsed("重启服务"))
    assert texts(base) == []


def test_text_that_postgresql_cannot_hold_is_cleaned():
    base = documents.base()
    documents.put(base, "重启\x00服务 \ud800 完成")
    assert texts(base) == ["重启服务 ? 完成"]


def test_pictures_are_kept_and_linked_once(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    base = documents.base()
    document = documents.put(base, "占位")
    picture = Asset("picture", number="图 1", caption="拓扑", media_type="image/png", data=b"PNG")
    parsed = ParsedDocument(blocks=[Block("picture", "架构图", asset=0)], assets=[picture])
    revision = documents.revision(document)
    indexing.put(revision, parsed)
    indexing.put(revision, parsed)
    (attachment,) = revision.attachments.all()
    assert attachment.file.read() == b"PNG"
    assert list(Chunk.objects.get(document=document).attachments.all()) == [attachment]
    assert len(list(tmp_path.rglob("*.png"))) == 1


def test_recount_repairs_and_drift_shows_what_is_off():
    base = documents.base()
    documents.put(base, "重启 nginx 服务")
    assert indexing.drift() == 0
    TermCount.objects.filter(knowledge_base=base).update(chunks=7)
    TermCount.objects.create(knowledge_base=base, term=1, chunks=3)
    TermCount.objects.filter(term=weighing.key("words", "nginx")).delete()
    Lexicon.objects.update(chunks=5)
    assert indexing.drift() == 4
    assert indexing.recount(base) > 1
    kept, counted = counts(base)
    assert kept == counted
    assert indexing.drift() == 0
    ChunkTerms.objects.all().delete()
    assert indexing.drift() == 2  # a chunk without terms, and one counted too many


def test_weights_follow_the_mean_length():
    base = documents.base()
    documents.put(base, "短句")
    for n in range(3):
        documents.put(base, f"第{n}段" + "这是一段长得多的说明文字，讲如何安装与配置。" * 5)
    lexicon = Lexicon.objects.get(pk=base.pk)
    assert lexicon.means[0] > 10 and lexical.off(lexicon) <= indexing.FAR
    assert lexical.stale(lexicon)  # by less than what is worth the work at once
    indexing.recount(base)
    lexicon.refresh_from_db()
    assert lexicon.means == pytest.approx(lexical.true_means(lexicon), rel=lexical.STALE)


def test_pictures_of_documents_that_come_in_together_keep_to_their_own(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    base = documents.base()
    revisions = [documents.revision(documents.put(base, f"占位 {n}")) for n in range(3)]

    def shown(n, *data):
        assets = [Asset("picture", media_type="image/png", data=one) for one in data]
        blocks = [Block("picture", f"第 {n} 图", asset=place) for place in range(len(data))]
        return indexing.prepare("图", ParsedDocument(blocks=blocks, assets=assets))

    parsed = [shown(0, b"A"), shown(1), shown(2, b"B", b"C")]
    for _twice in range(2):
        indexing.put_all(list(zip(revisions, parsed, strict=True)))
        rows = [list(revision.attachments.order_by("position")) for revision in revisions]
        assert [[row.file.read() for row in some] for some in rows] == [[b"A"], [], [b"B", b"C"]]
    linked = Chunk.objects.get(document=revisions[2].document).attachments.order_by("position")
    assert list(linked) == rows[2]
    assert len(list(tmp_path.rglob("*.png"))) == 3


def test_a_document_that_is_renamed_while_it_is_read_is_found_by_its_new_title():
    base = documents.base()
    documents.put_many(base, *(f"第 {n} 份文件讲别的事情" for n in range(20)))  # keeps the means
    document = documents.put(base, "重启 nginx 再看日志")
    revision = documents.revision(document)
    indexing.rename(document.pk, "网关")
    assert found(base, "网关") == ["重启 nginx 再看日志"]
    indexing.put(revision, documents.parsed("重启 nginx 再看监控"))
    assert found(base, "网关") == ["重启 nginx 再看监控"]


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_do_not_disturb_each_other():
    base = documents.base()
    shared = documents.put(base, "共同的文档 重启 nginx")
    revisions = [documents.revision(shared) for _ in range(4)]
    ready, failures = threading.Barrier(4), []

    def write(n):
        try:
            ready.wait()
            for turn in range(3):
                documents.put(base, f"写入者 {n} 第 {turn} 篇 重启 nginx 备份 {n * turn}")
            indexing.put(revisions[n], documents.parsed(f"共同的文档 版本{n} 重启 nginx"))
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    kept, counted = counts(base)
    assert kept == counted
    shared.refresh_from_db()
    assert shared.current == revisions[-1]
    assert Chunk.objects.filter(knowledge_base=base).count() == 13

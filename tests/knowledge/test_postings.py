"""Posting lists: what they propose, and what becomes of segments as chunks come and go."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies

from knowledge import indexing, lexical, postings, weighing
from knowledge.models import Chunk, ChunkTerms, PendingTerms, Posting, PostingSegment
from tests.knowledge import documents

pytestmark = pytest.mark.django_db
TEXTS = [f"{word} {n}" for word in ("备份", "磁盘", "证书", "登录", "网络") for n in range(4)]


@pytest.fixture
def base(monkeypatch):
    """Twenty chunks, none in a segment yet; a segment holds eight."""
    monkeypatch.setattr(postings, "FULL", 8)
    base = documents.base()
    documents.put_many(base, *TEXTS)
    return base


def propose(base, question, number=100):
    ids = postings.propose(weighing.query(question, [base.pk]), [base.pk], number).chunks
    return set(Chunk.objects.filter(pk__in=ids).values_list("text", flat=True))


def of_segments(base):
    rows = PostingSegment.objects.filter(knowledge_base=base)
    return sorted(chunk for row in rows for chunk in np.frombuffer(row.chunks, "<i8").tolist())


def pending(base):
    return PendingTerms.objects.filter(knowledge_base=base).count()


def test_what_is_in_no_segment_is_always_proposed(base):
    assert propose(base, "备份") == set(TEXTS)


def test_lists_propose_what_holds_a_term_and_the_heaviest_first(base):
    postings.merge(base.pk)
    assert pending(base) == 0
    assert propose(base, "备份") == set(TEXTS[:4])
    assert propose(base, "磁盘 2", 1) == {"磁盘 2"}
    assert propose(base, "没有的词") == set()


def test_what_comes_is_found_at_once_and_what_goes_never(base, monkeypatch):
    monkeypatch.setattr(lexical, "EXACT_CHUNKS", 0)
    postings.merge(base.pk)
    document = documents.put(base, "备份 新")
    asked = weighing.query("备份", [base.pk])
    new = Chunk.objects.get(document=document).pk
    assert new in lexical.best(asked, [base.pk], 10)
    postings.merge(base.pk)
    assert new in lexical.best(weighing.query("备份", [base.pk]), [base.pk], 10)
    indexing.remove(document)
    assert new not in lexical.best(weighing.query("备份", [base.pk]), [base.pk], 10)


def test_an_edited_chunk_is_found_by_its_new_words(base, monkeypatch):
    monkeypatch.setattr(lexical, "EXACT_CHUNKS", 0)
    postings.merge(base.pk)
    chunk = Chunk.objects.get(text="证书 1")
    Chunk.objects.filter(pk=chunk.pk).update(text="令牌")
    indexing.update_chunks(Chunk.objects.filter(pk=chunk.pk))
    for _ in range(2):  # pending, then in a segment beside its old one
        asked = weighing.query("令牌", [base.pk])
        assert list(lexical.best(asked, [base.pk], 10)) == [chunk.pk]
        postings.merge(base.pk)


def test_scores_do_not_depend_on_the_lists(base, monkeypatch):
    postings.merge(base.pk)
    asked = weighing.query("磁盘 备份 3", [base.pk])
    exact = lexical.best(asked, [base.pk], 20)
    monkeypatch.setattr(lexical, "EXACT_CHUNKS", 0)
    assert lexical.best(asked, [base.pk], 20) == exact


def test_frequent_terms_are_not_read_but_the_rarest_always(base, monkeypatch):
    documents.put(base, "备份 独有")
    postings.merge(base.pk)
    monkeypatch.setattr(postings, "READ", 1)
    assert propose(base, "备份 独有") == {"备份 独有"}
    assert propose(base, "备份") == {*TEXTS[:4], "备份 独有"}


def test_a_segment_made_while_one_asks_is_read_again(base, monkeypatch):
    postings.merge(base.pk)
    look = postings._chunks_of

    def merged_meanwhile(segments):
        monkeypatch.setattr(postings, "_chunks_of", look)
        postings._kept.clear()
        PostingSegment.objects.all().delete()
        postings.tidy(base.pk)
        return look(segments)

    monkeypatch.setattr(postings, "_chunks_of", merged_meanwhile)
    assert propose(base, "备份") == set(TEXTS[:4])


def test_a_chunk_that_is_pending_anew_stays_pending(base, monkeypatch):
    """Its terms changed after they were read for a segment."""
    chunk = Chunk.objects.get(text="证书 1")
    write = postings._write

    def edited_meanwhile(*args):
        write(*args)
        monkeypatch.setattr(postings, "_write", write)
        indexing.update_chunks(Chunk.objects.filter(pk=chunk.pk))
        monkeypatch.setattr(postings, "_merge_some", lambda base_id: False)

    monkeypatch.setattr(postings, "_write", edited_meanwhile)
    postings.merge(base.pk)
    assert chunk.pk in PendingTerms.objects.values_list("chunk_id", flat=True)


def test_segments_are_made_once_much_is_pending(base, monkeypatch):
    monkeypatch.setattr(postings, "PENDING", 21)
    postings.tend(base.pk)
    postings.sweep()
    assert pending(base) == 20
    documents.put(base, "一")
    postings.sweep()
    assert pending(base) == 0
    assert len(of_segments(base)) == 21


def test_weights_reckoned_anew_leave_the_lists_until_they_are_written_anew(
    base, monkeypatch, django_capture_on_commit_callbacks
):
    monkeypatch.setattr(lexical, "EXACT_CHUNKS", 0)
    postings.merge(base.pk)
    old = set(PostingSegment.objects.values_list("pk", flat=True))
    documents.put(base, "备份 新")  # pending
    queued = []
    monkeypatch.setattr(postings, "async_task", lambda *args, **options: queued.append(args))
    with django_capture_on_commit_callbacks(execute=True):
        indexing.reindex(base)
    assert pending(base) == 1 + 1  # what was, and its terms reckoned anew
    assert queued == [("knowledge.postings.rewrite", base.pk)]
    asked = weighing.query("备份", [base.pk])
    assert len(lexical.best(asked, [base.pk], 10)) == 5
    postings.rewrite(base.pk)
    assert old.isdisjoint(PostingSegment.objects.values_list("pk", flat=True))
    assert pending(base) == 0
    assert len(lexical.best(asked, [base.pk], 10)) == 5


def test_chunks_without_a_term_are_no_trouble(base):
    base = documents.base("marks")
    documents.put(base, "！！！", title="！")
    indexing.recount(base)
    assert pending(base) == 0
    assert postings.missing(base.pk) == 0


def test_chunks_written_anew_do_not_pile_up(base, monkeypatch):
    """Nor do they hide that there are more."""
    monkeypatch.setattr(lexical, "EXACT_CHUNKS", 0)
    everything = Chunk.objects.filter(knowledge_base=base)
    for number in range(4):
        for document in {chunk.document_id for chunk in everything}:
            indexing.rename(document, f"备份 {number}")
        postings.merge(base.pk)
        asked = weighing.query("备份", [base.pk])
        assert len(lexical.best(asked, [base.pk], 20)) == 20
    indexing.recount(base)
    assert len(of_segments(base)) <= 20 / postings.ALIVE


def test_few_hits_among_much_that_is_pending_are_looked_for_once(base, monkeypatch):
    monkeypatch.setattr(lexical, "EXACT_CHUNKS", 0)
    monkeypatch.setattr(lexical, "SPARE", 1)
    asked, seen = weighing.query("备份", [base.pk]), []
    look = postings.propose
    monkeypatch.setattr(postings, "propose", lambda *args: seen.append(args) or look(*args))
    assert len(lexical.best(asked, [base.pk], 10)) == 4
    assert len(seen) == 1


def test_what_lists_lack_is_told(base):
    postings.merge(base.pk)
    assert indexing.drift() == 0
    PostingSegment.objects.first().delete()
    assert indexing.drift() == postings.missing(base.pk) > 0
    indexing.recount(base)
    assert indexing.drift() == 0


def test_nightly_all_that_is_there_is_in_a_segment_once(base):
    postings.merge(base.pk)
    doomed = Chunk.objects.filter(text__startswith="备份") | Chunk.objects.filter(text="磁盘 1")
    for chunk in doomed:
        indexing.remove(chunk.document)
    documents.put(base, "新来的")
    PendingTerms.objects.all().delete()  # lost, for whatever reason
    indexing.recount(base)
    there = ChunkTerms.objects.filter(knowledge_base=base).values_list("pk", flat=True)
    assert set(there) <= set(of_segments(base))
    assert pending(base) == 0
    assert propose(base, "新来的") == {"新来的"}


def test_a_base_that_goes_takes_its_lists_along(base):
    postings.merge(base.pk)
    base.delete()
    assert not Posting.objects.exists()


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(strategies.lists(strategies.integers(1, 3), min_size=1, max_size=20))
def test_each_chunk_is_written_again_a_few_times_only(base, monkeypatch, arrivals):
    """However they come: all are in segments, no segment is too large, few are small."""
    PostingSegment.objects.all().delete()
    PendingTerms.objects.all().delete()
    written, write = [], postings._write
    ids = iter(Chunk.objects.order_by("pk").values_list("pk", flat=True))
    come = []
    with monkeypatch.context() as patch:
        patch.setattr(postings, "_write", lambda *args: (written.append(args[1]), write(*args)))
        for number in arrivals:
            new = [chunk for chunk, _ in zip(ids, range(number), strict=False)]
            come += new
            postings.pend(base.pk, new)
            postings.merge(base.pk)
    assert of_segments(base) == sorted(come)
    sizes = list(PostingSegment.objects.values_list("size", flat=True))
    assert all(size <= 8 for size in sizes)
    assert len(sizes) <= 2 * len(come) / 8 + 5
    assert sum(map(len, written)) <= 3 * len(come)

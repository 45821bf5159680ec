import threading

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowledge import curating, indexing, lexical, retrieval
from knowledge.models import Attachment, Chunk, ChunkEdit, ChunkTerms, Document, KnowledgeBase
from knowledge.parsing.document import Asset, Block, ParsedDocument
from opsdesk.errors import Conflict
from tests.knowledge import documents
from tests.knowledge.test_indexing import counts, found

pytestmark = pytest.mark.django_db
BOX = (0.1, 0.1, 0.9, 0.2)


def sections(**texts):
    """A page a section, so that each is a passage of its own."""
    blocks = []
    for page, (title, text) in enumerate(texts.items(), 1):
        box = (0.1, 0.3, 0.9, 0.4)
        blocks.append(Block("heading", title, level=1, page=page, box=BOX))
        blocks.append(Block("paragraph", text, page=page, box=box))
    return ParsedDocument(blocks=blocks, pages=len(texts))


def put(parsed, document=None, base=None):
    document = document or Document.objects.create(
        knowledge_base=base or documents.base(), title="手册", approved_at="2026-01-01T00:00Z"
    )
    indexing.put(documents.revision(document), parsed)
    document.refresh_from_db()
    return document


@pytest.fixture
def user():
    return User.objects.create(username="林岚")


@pytest.fixture
def document():
    return put(
        sections(
            重启="先备份。\n\n再执行 systemctl restart nginx",
            备份="每天两点备份",
            日志="看 journalctl",
        )
    )


def passages(document):
    return list(document.chunks.order_by("position"))


def texts(document):
    return [chunk.text for chunk in passages(document)]


def state(document):
    """All that a reader or the index could tell."""
    fields = (
        "pk position text question questions heading_path kind enabled regions page edited digest"
    )
    return [[getattr(row, name) for name in fields.split()] for row in passages(document)]


def assert_index_is_right(base):
    """What is indexed equals what would be, were all of it indexed anew."""
    kept, counted = counts(base)
    assert kept == counted
    assert indexing.drift() == 0
    with transaction.atomic():
        assert lexical.recount(base.pk) == 0
    rows = ChunkTerms.objects.filter(knowledge_base=base)
    before = {row.chunk_id: row.weights.indices() for row in rows}
    indexing.reindex(base)
    assert {row.chunk_id: row.weights.indices() for row in rows.all()} == before


def test_an_edit_is_found_by_its_new_words_and_written_down(document, user):
    chunk = passages(document)[2]
    version = KnowledgeBase.objects.get().version
    seen = curating.version(chunk)
    curating.edit(
        chunk.pk, text="用 kubectl logs", questions=["怎么看容器输出", " "], user=user, seen=seen
    )
    chunk.refresh_from_db()
    assert (chunk.text, chunk.questions, chunk.edited) == (
        "用 kubectl logs",
        ["怎么看容器输出"],
        True,
    )
    base = document.knowledge_base
    assert found(base, "kubectl") == ["用 kubectl logs"] == found(base, "容器输出")
    assert not found(base, "journalctl")
    assert KnowledgeBase.objects.get().version > version
    change = ChunkEdit.objects.get()
    assert (change.kind, change.user, change.before[0]["text"]) == ("edit", user, "看 journalctl")
    assert_index_is_right(base)


def test_saving_what_was_there_changes_nothing(document, user):
    chunk = passages(document)[0]
    curating.edit(chunk.pk, text=chunk.text + "\n", user=user)
    assert not ChunkEdit.objects.exists() and not passages(document)[0].edited


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("text", {"text": "  \n"}),
        ("text", {"text": "字" * 2001}),
        ("question", {"text": "好", "question": "字" * 1001}),
        ("questions", {"text": "好", "questions": [f"问题{n}" for n in range(51)]}),
        ("questions", {"text": "好", "questions": ["字" * 2001]}),
        ("heading_path", {"text": "好", "heading_path": ["字" * 201]}),
    ],
)
def test_what_could_not_be_found_is_refused(document, user, field, values):
    with pytest.raises(ValidationError) as refused:
        curating.edit(passages(document)[0].pk, user=user, **values)
    assert list(refused.value.message_dict) == [field]
    assert not ChunkEdit.objects.exists()


def test_text_that_no_database_takes_is_tidied(document, user):
    chunk = curating.edit(passages(document)[0].pk, text="甲\x00乙\r\n丙\ud800", user=user)
    chunk.refresh_from_db()
    assert chunk.text == "甲乙\n丙?"


def test_a_split_moves_the_rest_and_deals_out_the_regions(document, user):
    before = state(document)
    first = passages(document)[0]
    parts = first.text.partition("\n\n")
    curating.split(first.pk, texts=[parts[0], parts[2]], user=user)
    rows = passages(document)
    assert texts(document)[:2] == ["先备份。", "再执行 systemctl restart nginx"]
    assert [row.position for row in rows] == [0, 1, 2, 3]
    # Both stand in the one block, on the one page.
    assert [row.page for row in rows] == [1, 1, 2, 3] and rows[0].regions == rows[1].regions
    assert rows[0].heading_path == rows[1].heading_path == ["重启"]
    assert found(document.knowledge_base, "systemctl restart") == [rows[1].text]
    assert_index_is_right(document.knowledge_base)
    curating.undo(ChunkEdit.objects.get().pk, user)
    assert state(document) == before
    assert_index_is_right(document.knowledge_base)


def test_parts_keep_the_regions_and_pictures_that_fit(user):
    parsed = ParsedDocument(
        blocks=[
            Block("paragraph", "第一步打开控制台并登录", page=1, box=BOX),
            Block("picture", "登录失败 错误码 1045", page=1, box=BOX, asset=0),
            Block("paragraph", "第二步重启服务然后检查", page=2, box=BOX),
        ],
        assets=[Asset("picture", media_type="image/png", page=1, box=BOX)],
        pages=2,
    )
    document = put(parsed)
    (chunk,) = passages(document)
    at = chunk.text.index("第二步")
    curating.split(chunk.pk, texts=[chunk.text[:at], chunk.text[at:]], user=user)
    first, second = passages(document)
    assert [region["block"] for region in first.regions] == [0, 1]
    assert [region["block"] for region in second.regions] == [2]
    assert (first.page_end, second.page) == (1, 2)
    picture = Attachment.objects.get()
    assert list(first.attachments.all()) == [picture] and not second.attachments.exists()
    merged = curating.merge([first.pk, second.pk], user=user)
    assert [region["block"] for region in merged.regions] == [0, 1, 2]
    assert (merged.page, merged.page_end) == (1, 2)
    assert list(merged.attachments.all()) == [picture]


def test_a_table_is_split_under_its_header_and_merged_without_a_second_one(user):
    rows = [["命令", "作用"], ["df", "磁盘"], ["free", "内存"], ["top", "进程"]]
    document = put(
        ParsedDocument(blocks=[Block("table", rows=rows, header_rows=1, page=1)], pages=1)
    )
    (chunk,) = passages(document)
    whole, at = chunk.text, chunk.text.index("| free")
    curating.split(chunk.pk, texts=[whole[:at], whole[at:]], user=user)
    first, second = passages(document)
    assert second.text == "| 命令 | 作用 |\n| --- | --- |\n| free | 内存 |\n| top | 进程 |"
    assert (first.regions[0]["rows"], second.regions[0]["rows"]) == ([1, 1], [2, 3])
    merged = curating.merge([first.pk, second.pk], user=user)
    assert merged.text == whole and merged.regions[0]["rows"] == [1, 3]


def test_merging_keeps_headings_questions_and_the_end_of_undo(document, user):
    before = state(document)
    first, second, third = passages(document)
    curating.edit(second.pk, text=second.text, questions=["几点备份"], user=user)
    merged = curating.merge([first.pk, second.pk], user=user)
    assert merged.text == f"# 重启\n\n{first.text}\n\n# 备份\n\n{second.text}"
    assert (merged.heading_path, merged.questions) == ([], ["几点备份"])
    assert texts(document) == [merged.text, third.text]
    assert_index_is_right(document.knowledge_base)
    for change in ChunkEdit.objects.all():  # newest first
        curating.undo(change.pk, user)
    assert state(document) == before
    assert_index_is_right(document.knowledge_base)


def test_only_neighbours_that_both_answer_and_fit_are_merged(document, user):
    first, second, third = passages(document)
    with pytest.raises(ValidationError):
        curating.merge([first.pk, third.pk], user=user)
    with pytest.raises(ValidationError):
        curating.merge([first.pk], user=user)
    other = documents.put(document.knowledge_base, "别的文档", title="别的")
    with pytest.raises(ValidationError):
        curating.merge([third.pk, other.chunks.get().pk], user=user)
    curating.set_enabled(Chunk.objects.filter(pk=second.pk), False, user)
    with pytest.raises(ValidationError):
        curating.merge([first.pk, second.pk], user=user)
    curating.edit(third.pk, text="字" * 1500, user=user)
    curating.edit(second.pk, text="字" * 1500, user=user)
    curating.set_enabled(Chunk.objects.filter(pk=second.pk), True, user)
    with pytest.raises(ValidationError) as refused:
        curating.merge([second.pk, third.pk], user=user)
    assert list(refused.value.message_dict) == ["text"]
    assert len(passages(document)) == 3


def test_switching_off_is_written_once_a_document_and_undone(document, user):
    base = document.knowledge_base
    documents.put(base, "看 journalctl 输出", title="别的")
    assert curating.set_enabled(Chunk.objects.all(), False, user) == 4
    assert curating.set_enabled(Chunk.objects.all(), False, user) == 0
    assert ChunkEdit.objects.count() == 2
    assert not retrieval.search("journalctl", [base]).passages
    version = KnowledgeBase.objects.get().version
    curating.undo(document.edits.get().pk, user)
    assert found(base, "journalctl") == ["看 journalctl"]
    assert KnowledgeBase.objects.get().version > version


def test_only_the_latest_change_of_a_passage_can_be_undone_and_redone(document, user):
    first, _, third = passages(document)
    curating.edit(first.pk, text="一改", user=user)
    curating.edit(first.pk, text="二改", user=user)
    curating.edit(third.pk, text="另一处", user=user)  # does not stand in the way
    other, later, earlier = ChunkEdit.objects.all()
    assert curating.open_edits(document) == {later.pk, other.pk}
    with pytest.raises(Conflict):
        curating.undo(earlier.pk, user)
    curating.undo(later.pk, user)
    with pytest.raises(Conflict):
        curating.undo(later.pk, user)
    curating.undo(earlier.pk, user)
    assert texts(document)[0] == first.text
    with pytest.raises(Conflict):
        curating.redo(later.pk, user)
    curating.redo(earlier.pk, user)
    curating.redo(later.pk, user)
    assert texts(document)[0] == "二改"
    curating.undo(later.pk, user)
    curating.edit(first.pk, text="三改", user=user)
    with pytest.raises(Conflict):
        curating.redo(later.pk, user)
    assert_index_is_right(document.knowledge_base)


def test_the_second_to_save_is_told_who_was_first(document, user):
    chunk, neighbour, _ = passages(document)
    seen = curating.version(chunk)
    curating.edit(chunk.pk, text="林岚的改动", user=user, seen=seen)
    with pytest.raises(Conflict, match="林岚"):
        curating.edit(chunk.pk, text="别人的改动", user=None, seen=seen)
    curating.merge([chunk.pk, neighbour.pk], user=user)
    with pytest.raises(Conflict, match="林岚"):
        curating.edit(neighbour.pk, text="晚了", user=None)
    put(sections(重启="换了"), document)
    with pytest.raises(Conflict):
        curating.undo(ChunkEdit.objects.filter(revision__lt=document.current_id).first().pk, user)


@pytest.mark.django_db(transaction=True)
def test_two_who_save_at_once_take_turns():
    document = put(sections(重启="先备份", 备份="每天两点"))
    chunk = passages(document)[0]
    seen, outcomes = curating.version(chunk), []

    def save(text):
        try:
            curating.edit(chunk.pk, text=text, user=None, seen=seen)
            outcomes.append("saved")
        except Conflict:
            outcomes.append("refused")
        finally:
            connection.close()

    others = [threading.Thread(target=save, args=[text]) for text in ("甲", "乙")]
    with transaction.atomic():
        indexing.lock([document.pk])  # both wait
        for other in others:
            other.start()
    for other in others:
        other.join()
    assert sorted(outcomes) == ["refused", "saved"] and ChunkEdit.objects.count() == 1
    assert_index_is_right(document.knowledge_base)


# --- A replacement ------------------------------------------------------------------
def test_work_on_passages_that_stay_survives_a_replacement(user):
    names = [f"第{n}章" for n in range(12)]
    old = {name: f"{name}的内容是 keep{n}\n\n其二" for n, name in enumerate(names)}
    document = put(sections(**old))
    rows = passages(document)
    curating.edit(rows[0].pk, text="改过的零", user=user)
    curating.edit(rows[2].pk, text=rows[2].text, questions=["怎么做二"], user=user)
    curating.set_enabled(Chunk.objects.filter(pk=rows[4].pk), False, user)
    curating.split(rows[6].pk, texts=rows[6].text.split("\n\n"), user=user)
    curating.merge([rows[8].pk, rows[9].pk], user=user)
    curating.edit(rows[11].pk, text="改过的十一", user=user)  # will have no place
    curating.set_enabled(Chunk.objects.filter(pk=rows[3].pk), False, user)  # neither
    made = {row.position: row.text for row in passages(document)}
    # Every other changes, one moves to the front, but for the two that were merged.
    new = {"前言": "新写的"} | {
        name: old[name] if n % 2 == 0 or n == 9 else f"{name}换了" for n, name in enumerate(names)
    }
    document = put(sections(**new), document)
    after = passages(document)
    assert [row.position for row in after] == list(range(13))
    assert after[1].text == "改过的零" and after[1].page == 2 and after[1].edited
    assert after[3].questions == ["怎么做二"] and not after[3].edited
    assert [row.text for row in after if not row.enabled] == [old["第4章"]]
    assert [after[7].text, after[8].text] == old["第6章"].split("\n\n")
    assert [after[7].page, after[8].page] == [8, 8]
    assert after[10].text == made[9] and (after[10].page, after[10].page_end) == (10, 11)
    assert {change.after[0]["text"] for change in curating.lost(document)} == {
        "改过的十一",
        old["第3章"],
    }
    assert_index_is_right(document.knowledge_base)
    # It can be undone there too, as in the revision before.
    split = ChunkEdit.objects.get(revision=document.current_id, kind="split")
    curating.undo(split.pk, user)
    assert old["第6章"] in texts(document)
    # The old text returns: so does what was lost. A second time all is still there.
    document = put(sections(**old), document)
    assert not curating.lost(document).exists()
    assert {"改过的零", "改过的十一", made[9]} <= set(texts(document))
    assert document.chunks.filter(enabled=False).count() == 2
    assert_index_is_right(document.knowledge_base)


def test_what_is_only_disabled_reads_as_parsed_again(user):
    document = put(sections(重启="先备份", 备份="每天两点"))
    chunk = passages(document)[0]
    curating.set_enabled(Chunk.objects.filter(pk=chunk.pk), False, user)
    # As a vision model's description is put under it, which comes again by itself.
    Chunk.objects.filter(pk=chunk.pk).update(text="先备份\n\n> 图 1：架构")
    indexing.update_chunks(Chunk.objects.filter(pk=chunk.pk))
    put(sections(重启="先备份", 备份="每天三点"), document)
    assert [(row.text, row.enabled) for row in passages(document)] == [
        ("先备份", False),
        ("每天三点", True),
    ]
    assert_index_is_right(document.knowledge_base)


def test_processing_a_revision_again_keeps_the_work_on_it(document, user):
    curating.edit(passages(document)[1].pk, text="每天三点备份", user=user)
    again = sections(
        重启="先备份。\n\n再执行 systemctl restart nginx", 备份="每天两点备份", 日志="看 journalctl"
    )
    for _ in range(2):
        indexing.put(document.current, again)
        assert texts(document)[1] == "每天三点备份" and len(passages(document)) == 3
    assert not curating.lost(document).exists()
    assert_index_is_right(document.knowledge_base)


def test_passages_that_read_alike_are_told_apart_by_their_order(user):
    blocks = [Block("heading", "步骤", level=1, page=page) for page in (1, 2, 3)]
    blocks = [one for head in blocks for one in (head, Block("paragraph", "同样", page=head.page))]
    document = put(ParsedDocument(blocks=blocks, pages=3))
    assert len(passages(document)) == 3
    curating.set_enabled(Chunk.objects.filter(pk=passages(document)[1].pk), False, user)
    put(ParsedDocument(blocks=blocks, pages=3), document)
    assert [row.enabled for row in passages(document)] == [True, False, True]


def test_a_lost_change_names_where_it_may_belong_and_is_dismissed(document, user):
    curating.edit(passages(document)[1].pk, text="每天三点备份", user=user)
    put(sections(重启="先停服务", 备份="每天四点备份", 日志="看 journalctl"), document)
    document.refresh_from_db()
    change = curating.lost(document).get()
    assert curating.likely(change).text == "每天四点备份"
    curating.dismiss(change.pk, user)
    assert not curating.lost(document).exists()


def test_a_faq_document_is_edited_in_its_entry(document, user):
    Document.objects.update(origin=Document.Origin.FAQ)
    with pytest.raises(Conflict):
        curating.edit(passages(document)[0].pk, text="改", user=user)


# --- Any sequence -------------------------------------------------------------------
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["edit", "split", "merge", "switch", "undo", "redo"]), st.integers(0, 9)
    ),
    max_size=12,
)


@settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_whatever_is_done_the_index_is_right_and_all_can_be_undone(steps):
    with transaction.atomic():
        document = put(sections(重启="先备份再重启", 备份="每天两点备份", 日志="看日志文件"))
        before = state(document)
        for number, (step, at) in enumerate(steps):
            _do(document, step, at, number)
        rows = passages(document)
        assert [row.position for row in rows] == list(range(len(rows)))
        kept, counted = counts(document.knowledge_base)
        assert kept == counted
        for change in document.edits.filter(undone_at=None):
            curating.undo(change.pk, None)
        assert state(document) == before
        transaction.set_rollback(True)


def _do(document, step, at, number):
    rows, edits = passages(document), list(document.edits.all())
    chunk = rows[at % len(rows)]
    try:
        if step == "edit":
            curating.edit(chunk.pk, text=f"改动{number}号 word{number}", user=None)
        elif step == "split":
            middle = len(chunk.text) // 2
            curating.split(chunk.pk, texts=[chunk.text[:middle], chunk.text[middle:]], user=None)
        elif step == "merge":
            curating.merge([row.pk for row in rows[at % len(rows) :][:2]], user=None)
        elif step == "switch":
            one = Chunk.objects.filter(pk=chunk.pk)
            curating.set_enabled(one, not chunk.enabled, None)
        elif edits:
            getattr(curating, step)(edits[at % len(edits)].pk, None)
    except (Conflict, ValidationError):
        pass  # refused, and then nothing may have changed

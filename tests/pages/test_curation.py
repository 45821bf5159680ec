"""A curator works on the passages of a document, in Chromium, with the real server."""

import io
import re

import pypdfium2
import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from playwright.sync_api import expect

from knowledge import curating, indexing
from knowledge.models import Chunk, ChunkEdit, Document, Revision
from knowledge.parsing.document import Block, ParsedDocument
from tests.knowledge import documents
from tests.pages.conftest import sign_in

pytestmark = pytest.mark.browser
OFF = re.compile(r"\boff\b")


def pdf(pages):
    made, kept = pypdfium2.PdfDocument.new(), io.BytesIO()
    for _ in range(pages):
        made.new_page(300, 400)
    made.save(kept)
    return kept.getvalue()


def parsed():
    blocks = []
    for page in (1, 2):
        blocks.append(
            Block("paragraph", "内部资料", page=page, box=(0.1, 0, 0.9, 0.1), hidden=True)
        )
        for number, name in enumerate(("重启", "备份")):
            top = 0.2 + number * 0.4
            body = f"第{page}页{name}前先通知值班。\n\n再执行 step{page}{number}。" + "细则" * 260
            blocks.append(Block("heading", name, 1, page, (0.1, top, 0.9, top + 0.05)))
            blocks.append(Block("paragraph", body, None, page, (0.1, top + 0.1, 0.9, top + 0.3)))
    return ParsedDocument(blocks=blocks, pages=2)


def make(media_type="application/pdf"):
    document = Document.objects.create(
        knowledge_base=documents.base(), title="值班手册", approved_at="2026-01-01T00:00Z"
    )
    revision = Revision(
        document=document, name="a.pdf", media_type=media_type, size=1, sha256="0" * 64
    )
    revision.file.save("a.pdf", ContentFile(pdf(2)))
    document.latest = revision
    document.save()
    indexing.put(revision, parsed())
    document.refresh_from_db()
    return document


def texts(document):
    return list(document.chunks.order_by("position").values_list("text", flat=True))


def change(document):
    return f"/admin/knowledge/document/{document.pk}/change/"


def card(page, chunk):
    return page.locator(f"#chunk-{chunk.pk}")


def test_passages_are_seen_edited_split_merged_and_all_undone(staff, agent):
    document = make()
    original = texts(document)
    first, second, third, _ = document.chunks.order_by("position")
    page = staff(
        agent,
        change(document),
        viewport={"width": 1280, "height": 900},
    )
    expect(page.locator(".card")).to_have_count(2)
    assert page.locator(".paper img").evaluate("one => one.decode().then(() => one.width > 0)")

    # A passage shows where it stands, a place which passage it became.
    card(page, second).hover()
    expect(page.locator("rect.on")).to_have_attribute("data-chunk", str(second.pk))
    page.locator(f"rect[data-chunk='{first.pk}']").hover()
    expect(card(page, first)).to_have_class(re.compile(r"\bon\b"))
    assert page.locator("rect.left").count() == 1  # the running header

    # Edit: refused with a reason, then saved, without leaving the page.
    card(page, first).get_by_role("link", name="编辑").click()
    form = page.locator(".chunk-form")
    form.locator("[name=text]").fill(" ")
    form.get_by_role("button", name="保存").click()
    expect(form.locator("[data-errors=text]")).to_be_visible()
    form.locator("[name=text]").fill("先**通知**值班。\n\n再执行 rolling-restart。")
    form.locator("[name=questions]").fill("怎么重启服务")
    form.get_by_role("button", name="预览").click()
    expect(form.locator(".preview strong")).to_have_text("通知")
    form.get_by_role("button", name="保存").click()
    expect(card(page, first).locator(".tag.edited")).to_be_visible()
    expect(card(page, first).locator(".others li")).to_have_text("怎么重启服务")
    assert texts(document)[0].endswith("rolling-restart。")

    # Split at the cursor, merge, disable.
    card(page, first).get_by_role("link", name="编辑").click()
    at = texts(document)[0].index("再执行")
    form.locator("[name=text]").evaluate(f"one => one.setSelectionRange({at}, {at})")
    form.get_by_role("button", name="在光标处拆分").click()
    expect(page.locator(".card")).to_have_count(3)
    assert texts(document)[:2] == ["先**通知**值班。", "再执行 rolling-restart。"]
    card(page, first).get_by_role("button", name="与下一块合并").click()
    expect(page.locator(".card")).to_have_count(2)
    card(page, second).get_by_role("button", name="停用").click()
    expect(card(page, second)).to_have_class(OFF)

    # What was just done is undone at once, the rest from the history.
    page.locator("#toast button").click()
    expect(card(page, second)).not_to_have_class(OFF)
    page.locator(".turner .history").click()
    for left in (3, 2, 1):
        undo = page.locator("#edits [data-do=undo]")
        expect(page.locator("#edits .changes > li:not(.undone)")).to_have_count(left)
        undo.first.click()
    expect(page.locator("#edits [data-do=undo]")).to_have_count(0)
    page.locator("#edits .close").click()
    assert texts(document) == original and indexing.drift() == 0

    # Another page by the keyboard, with its own passages.
    page.locator("body").press("ArrowRight")
    expect(card(page, third)).to_be_visible()
    expect(page.locator(".card")).to_have_count(2)
    assert [one for one in page.problems if "status of 400" not in one] == []


def test_unsaved_text_survives_a_conflict_and_a_lost_session(staff, agent):
    document = make()
    first = document.chunks.order_by("position").first()
    page = staff(agent, f"{change(document)}?chunk={first.pk}")
    expect(card(page, first)).to_be_focused()
    page.keyboard.press("e")
    form = page.locator(".chunk-form")
    form.locator("[name=text]").fill("我写了很久的一段")
    curating.edit(first.pk, text="别人先改了", user=agent)
    form.get_by_role("button", name="保存").click()
    expect(form.locator("[data-errors='']")).to_contain_text("lin")
    expect(form.locator("[name=text]")).to_have_value("我写了很久的一段")

    page.reload()  # of one's own will: the browser asks first
    page.keyboard.press("e")
    form.locator("[name=text]").fill("又写了一段")
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.locator("body").press("ArrowRight")  # in the text: moves the cursor only
    page.locator("a[rel=next]").click()
    assert asked == ["confirm"]
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    form.get_by_role("button", name="保存").click()
    expect(form.locator("[data-errors=''] a")).to_have_attribute("target", "_blank")
    sign_in(page, agent)
    form.get_by_role("button", name="保存").click()
    expect(card(page, first).locator(".body .prose")).to_have_text("又写了一段")
    assert ChunkEdit.objects.count() == 2


def test_what_was_lost_is_applied_to_the_passage_it_resembles(staff, agent):
    document = make()
    first = document.chunks.order_by("position").first()
    curating.edit(first.pk, text="我们的说法", user=agent)
    changed = parsed()
    changed.blocks[2].text = changed.blocks[2].text.replace("先通知", "必须先通知")
    indexing.put(documents.revision(document), changed)
    page = staff(
        agent,
        change(document),
        viewport={"width": 390, "height": 844},
    )
    assert page.locator("html").evaluate("e => e.scrollWidth <= e.clientWidth")
    page.locator("[data-lost] [data-do=apply]").click()
    expect(page.locator(".chunk-form [name=text]")).to_have_value("我们的说法")
    page.locator(".chunk-form [type=submit]").click()
    expect(page.locator(".card .tag.edited")).to_be_visible()
    assert Chunk.objects.filter(text="我们的说法").count() == 1
    assert not curating.lost(document).exists()
    page.reload()
    expect(page.locator("[data-lost]")).to_have_count(0)


def test_without_scripts_the_page_turns_and_a_passage_is_edited(staff, agent):
    document = make(media_type="application/msword")  # shown as it was read
    third = document.chunks.order_by("position")[2]
    page = staff(agent, change(document), java_script_enabled=False)
    page.locator("a[rel=next]").click()
    expect(page.locator(".paper")).to_contain_text("step20")
    card(page, third).get_by_role("link", name="编辑").click()
    page.fill("#id_text", "改过的一段")
    page.fill("#id_questions", "第一问\n第二问")
    page.locator("[name=_save]").click()
    expect(page.locator(".messagelist .success")).to_be_visible()
    third.refresh_from_db()
    assert (third.text, third.questions) == ("改过的一段", ["第一问", "第二问"])
    assert ChunkEdit.objects.get().user == agent

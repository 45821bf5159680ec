"""The chat page as a customer meets it."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from chat.models import Conversation, Rating
from handoff import desk
from handoff.models import Handoff, Satisfaction
from tests.browser import kill, wait_for
from tests.pages.conftest import sign_in

pytestmark = pytest.mark.browser

DRAIN = "把故障节点隔离并驱逐上面的容器组，执行什么命令？"


def ask(page, question):
    """Type and send; what OpsDesk says to it."""
    replies = page.locator(".message.assistant:not(#live), .message.system")
    before = replies.count()
    page.fill("#text", question)
    page.keyboard.press("Enter")
    replies.nth(before).wait_for()
    return replies.nth(before)


def delivered(page):
    """Wait until the server has everything that was sent."""
    expect(page.locator(".sending:visible")).to_have_count(0)


def said(page):
    """Role and text of every message, as the page shows them."""
    return page.locator("#log > .message").evaluate_all(
        "all => all.map(one => [one.classList[1], one.querySelector('.prose').innerText.trim()])"
    )


def conversation_of(page):
    uuid = page.evaluate("localStorage.getItem('opsdesk.conversation')")
    return Conversation.objects.get(pk=uuid)


QUESTIONS = {  # a document: what it is asked, what it says, where
    "值班手册.md": (DRAIN, "kubectl cordon node-17", "容器平台"),
    "数据库运维手册.pdf": (
        "MySQL 报 Too many connections（错误 1040）怎么处理？", "33062", "第 6 章",
    ),
    "常见问题.xlsx": ("Redis 报 MOVED 错误是什么意思？", "加 -c 参数", "常见问题!A11:E11"),
    "发布与回滚流程.docx": ("应用回滚到上一个版本执行什么命令？", "rollback", "4 回滚"),
}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_answered_and_its_original_opened(page, name):
    question, words, place = QUESTIONS[name]
    answer = ask(page, question)
    assert words in answer.inner_text()
    where = answer.locator(".source .locator").first.inner_text()
    assert place in where
    assert not ("!" in where and "页" in where), "a sheet's cells need no page"
    answer.locator(".cite").first.click()
    cited = page.locator("#drawer .cited").first
    cited.wait_for()
    assert cited.is_visible()
    seen = (
        "e => { const a = e.getBoundingClientRect();"
        " const b = e.closest('.sheet').getBoundingClientRect();"
        " return a.top < b.bottom && a.bottom > b.top }"
    )
    wait_for(lambda: cited.evaluate(seen), "the cited place to come into sight")
    with page.expect_download() as download:
        page.click("#drawer .original")
    assert download.value.suggested_filename == name
    page.keyboard.press("Escape")
    page.locator("#drawer").wait_for(state="hidden")
    expect(answer.locator(".cite").first).to_be_focused()


def test_an_answer_is_taken_along(page):
    answer = ask(page, DRAIN)
    for suffix in ("pdf", "docx"):
        with page.expect_download() as download:
            answer.locator(f".{suffix}").click()
        assert download.value.suggested_filename.endswith(f".{suffix}")
        assert Path(download.value.path()).stat().st_size > 5000
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    answer.locator(".code", has_text="cordon").locator(".copy-code").click()
    clipboard = "navigator.clipboard.readText()"
    wait_for(lambda: "kubectl cordon node-17" in page.evaluate(clipboard), "it to be copied")


def test_an_answer_is_rated_and_says_why(page):
    answer = ask(page, DRAIN)
    answer.get_by_label("没有帮助").click()
    why = answer.locator(".why")
    why.get_by_text("已经过时").click()
    answer.locator(".reason[aria-pressed=true]").wait_for()
    why.locator("input").fill("node-17 已下线")
    why.get_by_role("button", name="发送").click()
    ratings = Rating.objects.filter(message__conversation=conversation_of(page))
    wait_for(lambda: ratings.filter(comment="node-17 已下线").exists(), "the comment to be kept")
    page.reload()
    expect(page.locator(".why input")).to_have_value("node-17 已下线")
    expect(page.locator(".reason[aria-pressed=true]")).to_have_text("已经过时")
    page.get_by_label("有帮助", exact=True).click()
    page.locator(".why").wait_for(state="detached")
    assert ratings.values_list("helpful", "comment").get() == (True, "")
    page.get_by_label("有帮助", exact=True).click()
    page.locator(".rate[aria-pressed=true]").wait_for(state="detached")
    assert not ratings.exists()


def test_what_nobody_wrote_down_goes_to_a_person(page, agent):
    reply = ask(page, "周末去海南旅游住哪家酒店便宜？")
    page.wait_for_selector(".system[data-event=handoff_requested]")
    # With nobody yet; the runner may have offered it by now.
    assert Handoff.objects.waiting().get().conversation == conversation_of(page)
    page.wait_for_selector("#person:disabled")
    assert reply.is_visible()


def test_a_vague_question_is_asked_back(page):
    reply = ask(page, "怎么办")
    assert "？" in reply.inner_text() or "?" in reply.inner_text()
    assert not reply.locator(".source").count()
    assert conversation_of(page).state == Conversation.State.BOT


def test_with_nobody_on_duty_a_way_to_be_reached_is_left(page):
    page.click("#person")
    form = page.locator("form.contact")
    form.locator("input").fill("13800000000")
    form.locator("textarea").fill("机房断电了，什么时候恢复？")
    form.locator("button").click()
    page.wait_for_selector(".system[data-event=contact_saved]")
    form.wait_for(state="hidden")
    conversation = conversation_of(page)
    assert Handoff.objects.get(conversation=conversation).contact == "13800000000"
    assert conversation.messages.get(role="customer").text == "机房断电了，什么时候恢复？"


def test_without_a_person_another_question_can_be_asked(page):
    page.click("#person")
    page.locator("form.contact").wait_for()
    page.fill("#text", DRAIN)
    page.keyboard.press("Enter")
    page.wait_for_selector(".system[data-event=noted]")
    assert page.locator("form.contact").is_visible()  # still to be filled in
    page.click(".another .withdraw:visible")
    page.locator(".message.assistant .source").first.wait_for()
    expect(page.locator("#person")).to_be_enabled()
    expect(page.locator("form.contact")).to_be_hidden()


def test_what_is_too_long_is_kept_and_not_sent(page):
    page.fill("#text", "错" * 2001)
    page.keyboard.press("Enter")
    expect(page.locator("#send")).to_be_disabled()
    expect(page.locator("#left")).to_have_text("超出 1 个字")
    page.keyboard.press("Backspace")
    expect(page.locator("#send")).to_be_enabled()
    assert said(page) == []


def test_what_comes_while_reading_above_leaves_the_page_its_width(page, agent):
    page.click("#person")
    page.wait_for_selector(".system[data-event=handoff_requested]")
    conversation = conversation_of(page)
    page.fill("#text", "在吗")
    page.keyboard.press("Enter")
    delivered(page)
    desk.claim(conversation, agent)
    for n in range(40):
        desk.reply(conversation, agent, f"第 {n} 句")
    newest = page.get_by_text("第 39 句")
    newest.wait_for()
    # What a person says last is followed, however far the question is.
    foot = page.locator(".foot").bounding_box()["y"]
    wait_for(lambda: newest.bounding_box()["y"] < foot, "the newest to be in view")
    main = page.locator("#main")
    page.hover("#main")

    def above():
        page.mouse.wheel(0, -400)  # in the next frame the page has heard of it
        return main.evaluate(
            "e => new Promise(done => requestAnimationFrame(() =>"
            " done(e.scrollHeight - e.scrollTop - e.clientHeight > 300)))"
        )

    wait_for(above, "the wheel to turn")
    desk.reply(conversation, agent, "最后一句")
    page.wait_for_selector("#latest:visible")
    assert main.evaluate("e => e.clientWidth > innerWidth - 30")
    page.click("#latest")
    page.wait_for_selector("#latest", state="hidden")


def rate(page):
    """Rate who helped, and change it."""
    for score, comment in ((2, "等了很久"), (5, "很快")):
        page.check(f"#satisfaction input[value='{score}']")
        page.fill("#satisfaction .comment input", comment)
        page.click("#satisfaction .comment button")
        page.get_by_text(f"感谢评价：{score} 分").wait_for()
        page.click("#satisfaction .thanks button")
    given = Satisfaction.objects.get(handoff__conversation=conversation_of(page))
    assert (given.score, given.comment) == (5, "很快")


def test_a_person_takes_over(page, agent):
    page.click("#person")
    page.wait_for_selector(".system[data-event=handoff_requested]")
    conversation = conversation_of(page)
    desk.claim(conversation, agent)
    taken = page.locator(".system[data-event=handoff_taken]")
    taken.wait_for()
    assert taken.inner_text() == "人工客服已经接手！"
    page.get_by_text("林岚").first.wait_for()
    desk.reply(conversation, agent, "请先执行 `df -h`。")
    reply = page.locator(".message.agent")
    reply.wait_for()
    assert reply.locator("code").inner_text() == "df -h"
    page.fill("#text", "好的，已经执行")
    page.keyboard.press("Enter")
    wait_for(lambda: conversation.messages.filter(text="好的，已经执行"), "what was written")
    desk.resolve(conversation, agent)
    page.wait_for_selector(".system[data-event=handoff_resolved]")
    rate(page)
    expect(page.locator("#person")).to_be_enabled()
    assert page.locator(".message.assistant:not(#live)").count() == 0


def test_a_reload_resumes_with_the_draft(page):
    ask(page, DRAIN)
    page.fill("#text", "写了一半")
    before = said(page)
    page.reload()
    page.wait_for_selector(".source")
    wait_for(lambda: said(page) == before, "all to be there again")
    expect(page.locator("#text")).to_have_value("写了一半")
    page.click("#new")
    page.wait_for_selector("#empty:visible")
    assert said(page) == []


def test_nothing_is_lost_or_doubled_when_the_server_goes_away(page, site, agent):
    ask(page, DRAIN)
    page.click("#person")
    page.wait_for_selector(".system[data-event=handoff_requested]")
    conversation = conversation_of(page)
    desk.claim(conversation, agent)
    page.wait_for_selector(".system[data-event=handoff_taken]")
    kill(site.web)
    page.wait_for_selector("#banner:visible")
    page.fill("#text", "断线时写的")
    page.keyboard.press("Enter")
    for n in range(30):
        desk.reply(conversation, agent, f"第 {n} 句")
    site.start_web()
    page.locator(".message.agent", has_text=re.compile("第 29 句")).wait_for()
    delivered(page)
    expect(page.locator("#banner")).to_be_hidden()
    written = conversation.messages.filter(public=True).order_by("seq")
    shown = page.locator("#log > .message").evaluate_all(
        "all => all.map(one => Number(one.dataset.seq))"
    )
    assert shown == [message.seq for message in written]
    assert [text for role, text in said(page) if role == "customer"] == [DRAIN, "断线时写的"]


def test_enter_that_chooses_a_word_does_not_send(page):
    page.fill("#text", "cipan")
    page.locator("#text").dispatch_event(
        "keydown", {"key": "Enter", "isComposing": True, "bubbles": True}
    )
    assert page.input_value("#text") == "cipan"
    page.keyboard.press("Shift+Enter")
    expect(page.locator("#text")).to_have_value("cipan\n")


def test_enter_while_a_file_is_on_its_way_sends_both_when_it_is_there(page):
    held = []
    page.route("**/uploads/", lambda route: held.append(route))
    page.set_input_files("#files", {"name": "a.log", "mimeType": "text/plain", "buffer": b"down"})
    page.fill("#text", "你好")
    page.keyboard.press("Enter")
    page.locator("#left", has_text="自动发送").wait_for()
    assert said(page) == [] and page.input_value("#text") == "你好"
    wait_for(lambda: page.title() and held, "the upload to be held")
    held[0].continue_()
    page.locator(".message.customer .uploads", has_text="a.log").wait_for()
    expect(page.locator("#text")).to_have_value("")


def test_everything_is_reached_by_keyboard(page):
    expect(page.locator("#text")).to_be_focused()  # the cursor waits in the question
    page.keyboard.type(DRAIN)
    page.keyboard.press("Enter")
    page.wait_for_selector(".source")
    for _step in range(40):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.matches('.source')"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#drawer .cited")
    for _step in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "[document.body, null].includes(document.activeElement)"
            " || !!document.activeElement.closest('#drawer')"
        )
    page.keyboard.press("Escape")
    expect(page.locator(".source:focus")).to_have_count(1)


def scrolls_sideways(page):
    """Parts of the page that do, once it has laid itself out anew."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    return page.evaluate(
        "['html', 'main'].filter(part => { const e = document.querySelector(part);"
        " return e.scrollWidth > e.clientWidth })"
    )


def test_no_width_scrolls_sideways(page):
    ask(page, "P1 告警的响应时限是多少？" + "x" * 120)
    for width in (1920, 768, 390, 360):
        page.set_viewport_size({"width": width, "height": 800})
        assert scrolls_sideways(page) == [], width


def findings(page):
    """What axe takes for serious."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        (one["id"], [node["target"] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


# Nothing fades any more: axe would measure colours half-way.
STILL = """document.getAnimations().every(
    one => one.playState !== "running" || one.effect.getTiming().iterations === Infinity)"""


def accessible(page):
    """Nothing is found, neither by day on a screen nor by night on a phone."""
    for scheme, width in (("light", 1280), ("dark", 390)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 800})
        wait_for(lambda: page.evaluate(STILL), "all to stand still")
        assert findings(page) == [], scheme


def test_pages_are_accessible(page):
    accessible(page)
    ask(page, DRAIN).locator(".source").first.click()
    page.wait_for_selector("#drawer .cited")
    accessible(page)
    page.keyboard.press("Escape")
    page.click("#person")
    page.wait_for_selector(".system")
    accessible(page)


def test_the_theme_is_chosen_and_kept(page):
    seen = []
    for _click in range(3):
        page.click("#theme")
        seen.append(page.evaluate("document.documentElement.dataset.theme"))
    assert seen == ["light", "dark", "auto"]
    page.click("#theme")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_the_page_turns_english(page):
    page.click(".language-form button")
    page.wait_for_selector("html[lang=en]")
    expect(page.locator("#person")).to_have_text("Talk to a person")


def test_a_member_of_staff_finds_the_admin(page, agent):
    sign_in(page, agent)
    page.reload()
    assert page.get_attribute("nav.tools a", "href") == "/admin/"

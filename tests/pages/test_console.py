"""The console as two agents meet it, with a visitor on the other side."""

import re
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import expect

from chat import asking
from chat.models import Conversation
from handoff import desk
from handoff.models import Agent, CannedReply, Handoff, Macro, Team
from tests.browser import wait_for

# Nothing is asked of OpsDesk here, and nothing is offered by itself.
pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("unanswered")]


@pytest.fixture
def agents(site):
    """Lin and Wang, on duty."""
    names = {"lin": "林岚", "wang": "王海"}
    users = [
        User.objects.create_user(key, is_staff=True, first_name=name) for key, name in names.items()
    ]
    for user in users:
        Agent.objects.create(user=user, on_duty=True, seen_at=timezone.now())
    return users


@pytest.fixture
def console(staff):
    def console(user, **options):
        page = staff(user, "/console/", **options)
        page.wait_for_selector("#duty:not(:empty)")
        return page

    return console


def said(page):
    """What the shown conversation says, without who said it."""
    return page.locator(".log:not([hidden]) > .message .prose").all_inner_texts()


def test_two_agents_and_a_visitor(visit, console, agents):
    visitor = visit()
    visitor.fill("#text", "磁盘满了怎么办？")
    visitor.keyboard.press("Enter")
    visitor.locator(".sending:visible").wait_for(state="hidden")
    visitor.click("#person")
    visitor.wait_for_selector(".system[data-event=handoff_requested]")
    lin, wang = map(console, agents)

    # Both see it waiting; one takes it, the other reads who.
    for page in (lin, wang):
        page.click("[data-queue=unassigned]")
        page.click(".row")
        page.wait_for_selector("[data-action=claim]:visible")
    lin.get_by_text("王海 也在查看").wait_for()
    lin.keyboard.press("a")
    lin.get_by_text("由您负责。").wait_for()
    wang.get_by_text("由 林岚 负责。").wait_for()
    expect(wang.locator("#as-reply")).to_be_disabled()

    # They talk, and see each other type; a note stays among staff.
    lin.keyboard.press("Escape")
    lin.keyboard.press("r")
    lin.keyboard.type("您好，先看一下哪个目录最大：`du -sh /var/*`")
    visitor.get_by_text("林岚 正在输入…").wait_for()
    lin.keyboard.press("Enter")
    visitor.locator(".message.agent", has_text="哪个目录最大").wait_for()
    visitor.locator("#text").press_sequentially("好的")
    lin.get_by_text("客户正在输入…").wait_for()
    visitor.keyboard.press("Enter")
    lin.locator(".message.customer", has_text="好的").wait_for()
    wang.click("#as-note")
    wang.fill("#text", "上周也是这台机器")
    wang.keyboard.press("Enter")
    lin.locator(".message.private", has_text="上周也是这台机器").wait_for()

    # Lin goes offline; what is said meanwhile arrives once and in order.
    conversation = Conversation.objects.get()
    lin.context.set_offline(True)
    lin.get_by_text("连接已断开").wait_for()
    for n in range(30):
        asking.ask(conversation, f"补充 {n}", f"more-{n}")
    lin.fill("#text", "收到，我看看")
    lin.keyboard.press("Enter")
    lin.context.set_offline(False)
    visitor.locator(".message.agent", has_text="收到，我看看").wait_for()
    lin.locator(".sending:visible").wait_for(state="hidden")
    texts = list(conversation.messages.order_by("seq").values_list("text", flat=True))
    wait_for(lambda: len(said(lin)) == len(texts), "the whole transcript")
    assert [t.strip() for t in said(lin)] == [t.replace("`", "") for t in texts]

    # Handed on: the other gets it on offer, takes it, and settles it.
    lin.keyboard.press("Escape")
    lin.keyboard.press("t")
    lin.locator("#transfer select").select_option(label="王海 · 接待 0 / 5")
    lin.fill("#transfer textarea", "请接着查")
    lin.click("#transfer [value=go]")
    wang.locator("[data-action=accept]").click()
    wang.get_by_text("由您负责。").wait_for()
    assert "上周也是这台机器" not in visitor.inner_text("#log")
    wang.keyboard.press("Escape")
    wang.keyboard.press("e")
    visitor.wait_for_selector(".system[data-event=handoff_resolved]")
    wang.locator("[data-action=reopen]").wait_for()


@pytest.fixture
def taken(agents):
    """Lin's: the customer wrote last."""
    Team.objects.create(name="运维", next_minutes=15, resolve_minutes=240)
    made = Conversation.objects.create(visitor="v" * 32)
    asking.ask(made, "磁盘满了怎么办？", "m1")
    asking.call_human(made, "asked")
    desk.leave_contact(made, "13800000000")
    desk.claim(made, agents[0])
    desk.reply(made, agents[0], "先看一下：\n\n```\ndu -sh /var/*\n```")
    asking.ask(made, "/var/log 有 80G", "m2")
    return made


def test_a_macro_can_be_taken_back_for_a_moment(console, agents, taken):
    CannedReply.objects.create(name="您好", text="您好，我是{agent}。")
    Macro.objects.create(
        name="等日志", reply="请发日志。", tags=["待日志"], then="snooze", minutes=30
    )
    page = console(agents[0])
    page.click(".row")
    page.get_by_text("由您负责。").wait_for()
    for button in ("撤销", "立即执行"):
        page.fill("#text", "/等")
        page.locator("#canned li", has_text="等日志").wait_for()
        page.keyboard.press("Enter")
        page.locator("#held", has_text="等日志").wait_for()
        expect(page.locator("#text")).to_have_value("")
        assert not taken.messages.filter(text="请发日志。").exists()
        page.get_by_role("button", name=button).click()
    page.locator(".message.agent", has_text="请发日志。").wait_for()
    page.locator(".row .mark", has_text="#待日志").wait_for(state="hidden")  # it sleeps
    handoff = Handoff.objects.get()
    assert (handoff.tags, handoff.snoozed_until is not None) == (["待日志"], True)
    assert taken.messages.filter(text="请发日志。").count() == 1
    page.click("[data-queue=snoozed]")
    page.locator(".row .due", has_text="暂停").wait_for()
    page.click("#slash")
    page.locator("#canned li", has_text="您好").click()
    expect(page.locator("#text")).to_have_value("您好，我是林岚。")


def test_passages_are_quoted_as_they_are_chosen(console, agents, taken):
    page = console(agents[0])
    page.click(".row")
    page.get_by_text("由您负责。").wait_for()
    page.fill("#assist input", "主备延迟超过 120 秒，先检查什么？")
    page.keyboard.press("Enter")
    quotes = page.locator("#assist article")
    quotes.nth(1).wait_for()
    page.evaluate("getSelection().selectAllChildren(document.querySelectorAll('.quote')[1])")
    chosen = page.evaluate("String(getSelection()).trim()")
    for n in (1, 0):
        quotes.nth(n).locator(".insert").click()
    expect(page.locator("#text")).to_have_value(re.compile(r" \[2\]$"))
    written = page.input_value("#text")
    assert written.startswith(f"{chosen} [1]")
    assert "|" not in written.removeprefix(chosen)  # of a table no part
    page.click("#send")
    assert page.locator(".message.agent[data-seq] .cite").first.inner_text() == "1"
    said = taken.messages.latest("seq")
    assert list(said.citations.order_by("n").values_list("n", flat=True)) == [1, 2]


def test_enter_waits_for_what_a_slash_calls_up(console, agents, taken):
    CannedReply.objects.create(name="您好", text="您好，我是{agent}。")
    page = console(agents[0])
    page.evaluate(HELD)  # what can be called up comes late
    page.click(".row")
    page.get_by_text("由您负责。").wait_for()
    for typed, filled in (("/您", "您好，我是林岚。"), ("/etc/hosts", "")):
        page.evaluate("document.querySelector('.row').click()")
        page.fill("#text", typed)
        page.keyboard.press("Enter")
        assert page.input_value("#text") == typed
        page.evaluate("answer()")
        wait_for(lambda: page.input_value("#text") == filled, "what was called up")  # noqa: B023
    # What nothing is called by was meant to be said.
    page.locator(".message.agent", has_text="/etc/hosts").wait_for()


HELD = """
const send = WebSocket.prototype.send;
const late = [];
WebSocket.prototype.send = function (text) {
  if (JSON.parse(text).type === "canned") late.push(() => send.call(this, text));
  else send.call(this, text);
};
window.answer = () => late.splice(0).pop()?.();
"""
NOTICES = """
window.told = [];
window.Notification = class {
  static permission = "granted";
  constructor(title) { told.push(title); }
};
document.hasFocus = () => false;
"""


def test_a_note_calls_a_colleague_and_who_looks_elsewhere_is_told(console, agents, taken):
    lin, wang = map(console, agents)
    for page in (lin, wang):
        page.evaluate(NOTICES)
        page.click("#notify")
    lin.click(".row")
    lin.get_by_text("由您负责。").wait_for()
    lin.click("#as-note")
    lin.locator("#text").press_sequentially("看一下 @王")
    lin.locator("#canned li", has_text="王海").wait_for()
    lin.keyboard.press("Enter")
    expect(lin.locator("#text")).to_have_value("看一下 @王海 ")
    lin.keyboard.press("Enter")
    wang.locator("[data-queue=mentioned]", has_text="1").wait_for()
    wait_for(lambda: wang.evaluate("told"), "a notice of it")
    assert wang.evaluate("told") == ["林岚 在备注中提到了您"]
    wang.click("[data-queue=mentioned]")
    wang.click(".row")
    wang.locator(".message.private", has_text="看一下 @王海").wait_for()
    wang.locator("[data-queue=mentioned]", has_text="0").wait_for()

    # What comes in a conversation that is not looked at is counted in the title, and told.
    lin.evaluate("location.hash = ''")
    asking.ask(taken, "还在吗？", "m3")
    lin.locator(".row.unread").wait_for()
    wait_for(lambda: lin.title().startswith("(1) "), "the title to count")
    wait_for(lambda: lin.evaluate("told"), "a notice of it")
    assert lin.evaluate("told") == ["磁盘满了怎么办？"]
    another = Conversation.objects.create(visitor="w" * 32)
    asking.ask(another, "网络不通", "m1")
    asking.call_human(another, "asked")
    wait_for(lambda: lin.evaluate("told.length") == 2, "a notice that somebody waits")


def test_what_the_model_and_the_customer_say_of_it_is_shown_at_once(console, agents, taken):
    page = console(agents[0])
    page.click(".row")
    page.get_by_text("联系方式").first.wait_for()
    page.select_option("#marks [name=priority]", label="紧急")
    page.locator(".row .mark.high").wait_for()
    page.fill("#marks [name=tags]", "磁盘，node-17")
    page.keyboard.press("Enter")
    page.locator(".row .mark", has_text="#node-17").wait_for()
    desk.resolve(taken, agents[0])
    desk.rate(taken, 4, "挺快")
    page.locator("#facts", has_text="★★★★☆ 挺快").wait_for()


def violations(page):
    """What axe finds: [(rule, elements)]."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [(one["id"], [node["target"] for node in one["nodes"]]) for one in found]


LOOKS = (("light", 1280), ("dark", 390), ("light", 390), ("dark", 1280))


@pytest.mark.parametrize(("language", "looks"), [("zh-CN", LOOKS), ("en-US", LOOKS[:1])])
def test_the_console_is_accessible_and_fits(console, agents, taken, language, looks):
    Macro.objects.create(name="结单", reply="好了。", then="resolve")
    page = console(agents[0], locale=language)
    page.click(".row")
    page.locator("#facts dl").first.wait_for()
    page.click("#slash")
    found = []
    for scheme, width in looks:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 844})
        found += violations(page)
        if width == 390:
            page.click("#beside" if scheme == "dark" else "#back")
            found += violations(page)
            page.click("#aside" if scheme == "dark" else ".row")
    assert found == []
    for width in (360, 390, 768, 1024):
        page.set_viewport_size({"width": width, "height": 800})
        for part in map(page.locator, ("html", "#conversation", ".about", ".composer")):
            fits = partial(part.evaluate, "e => e.scrollWidth === e.clientWidth")
            wait_for(fits, f"{part} to fit {width}", seconds=10)


def test_what_was_left_with_nobody_there_is_answered_later_and_there_on_return(visit, agents):
    Agent.objects.update(on_duty=False)
    visitor = visit()
    visitor.click("#person")
    visitor.fill("form.contact input", "13800000000")
    visitor.fill("form.contact textarea", "机房断电了，什么时候恢复？")
    visitor.click("form.contact .primary")
    visitor.wait_for_selector(".system[data-event=contact_saved]")
    visitor.locator("#state", has_text="没有客服在岗").wait_for()
    visitor.goto("about:blank")
    conversation = Conversation.objects.get()
    desk.claim(conversation, agents[0])
    desk.reply(conversation, agents[0], "已经恢复。")
    visitor.goto("/")
    visitor.locator(".message.agent", has_text="已经恢复。").wait_for()
    visitor.locator("#state", has_text="林岚").wait_for()

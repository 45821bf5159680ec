"""The console as two agents meet it, with a visitor on the other side."""

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from chat import asking
from chat.models import Conversation
from handoff.models import Agent
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
    def console(user):
        page = staff(user, "/console/")
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
    assert wang.locator("#as-reply").is_disabled()

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

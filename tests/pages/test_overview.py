"""The supervisors' page."""

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import expect

from chat import asking
from chat.models import Conversation
from handoff import desk
from handoff.models import Agent, Membership, Team
from tests.browser import wait_for
from tests.pages.test_console import violations

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("unanswered")]
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def members(site):
    team = Team.objects.create(name="运维一线", first_minutes=5)
    made = {}
    for name, shown in (("lea", "陈立"), ("wang", "王海"), ("zhao", "赵敏")):
        user = User.objects.create_user(name, is_staff=True, first_name=shown)
        agent = Agent.objects.create(user=user, on_duty=name != "zhao", seen_at=timezone.now())
        Membership.objects.create(team=team, agent=agent, leads=name == "lea")
        made[name] = user
    return made


def calling(title):
    conversation = Conversation.objects.create(visitor="v" * 32, title=title)
    asking.call_human(conversation, "asked")
    return conversation


def test_a_supervisor_sees_and_moves(staff, members):
    held, waits = calling("数据库主从延迟"), calling("订单库连不上")
    desk.claim(held, members["wang"])
    page = staff(members["lea"], "/console/overview/")
    page.locator("#teams").get_by_text("运维一线").wait_for()
    expect(page.locator("#called")).to_have_text("2")
    row = page.locator("#agents tr", has_text="王海")
    expect(row.get_by_role("link", name="数据库主从延迟")).to_be_visible()

    # Who waits is given to somebody, and put back.
    page.get_by_role("button", name="指派: 订单库连不上").click()
    page.locator("#assign select").select_option(label="王海 · 接待 1 / 5")
    page.click("#assign [value=go]")
    row.get_by_role("link", name="订单库连不上").wait_for()
    waits.refresh_from_db()
    assert waits.owner == members["wang"]
    row.get_by_role("button", name="退回队列: 订单库连不上").click()
    page.locator("#waiting").get_by_role("link", name="订单库连不上").wait_for()
    # Who forgot to go off duty is taken off.
    row.get_by_role("button", name="设为离岗").click()
    wait_for(lambda: not Agent.objects.get(user=members["wang"]).on_duty, "duty")
    row.locator(".off").wait_for()
    for media, size in (("light", None), ("dark", None), ("dark", PHONE)):
        page.emulate_media(color_scheme=media)
        if size:
            page.set_viewport_size(size)
        assert violations(page) == []
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= PHONE["width"]


def test_others_are_sent_away(staff, members):
    page = staff(members["wang"], "/console/overview/")
    assert "403" in page.inner_text("body")

"""Staff read when a person is called, try another choice on what was asked, and save it."""

import pytest
from playwright.sync_api import expect

from chat import asking, runner
from chat.models import Conversation, EscalationPolicy

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("unanswered")]


@pytest.fixture
def asked(site):
    for number, text in enumerate(("量子纠缠仪如何部署？", "转人工", "谢谢", "答非所问")):
        asking.ask(Conversation.objects.create(visitor=f"{number:032}"), text)
    runner.run_waiting()


def test_a_choice_is_tried_before_it_is_saved(staff, agent, asked):
    page = staff(agent, "/admin/chat/escalationpolicy/")
    page.click("#result_list tbody th a")
    page.check("input[name=unsure][value=offer]")
    page.click("button[name=_preview]")
    page.wait_for_selector("#preview")
    rows = page.locator("#preview table").first.locator("tbody tr").all_inner_texts()
    assert [row.split()[-3:] for row in rows] == [["3", "0", "1"], ["2", "1", "1"]]
    assert "量子纠缠" in page.locator("#preview .examples").inner_text()
    assert EscalationPolicy.objects.get().unsure == "call"
    assert page.is_checked("input[name=unsure][value=offer]")
    with page.expect_navigation():
        page.click("input[name=_continue]")
    assert EscalationPolicy.objects.get().unsure == "offer"
    with page.expect_navigation():
        page.click("button.restore")
    assert page.is_checked("input[name=unsure][value=call]")


def test_who_asks_while_nothing_answers_is_told_that_it_arrived(page):
    page.fill("#text", "磁盘满了怎么办")
    page.keyboard.press("Enter")
    expect(page.locator("#step")).to_contain_text("已收到")
    page.click("#person")
    expect(page.locator("#state")).to_be_visible()
    expect(page.locator("#step")).to_be_empty()

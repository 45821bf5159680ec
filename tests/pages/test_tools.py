"""Staff set up a service in Chromium, try it out, and a customer asks it."""

import pytest
from playwright.sync_api import expect

from chat.models import HttpTool, ToolCall
from knowledge.models import KnowledgeBase
from tests import loopback
from tests.chat.order_service import OrderService

pytestmark = pytest.mark.browser
ARGUMENT = {
    "name": "order",
    "label": "订单号",
    "ask": "请问订单号是多少？",
    "detail": r"[A-Z]{2}\d{6}",
    "example": "AB123456",
}


def ask(page, text):
    page.fill("#text", text)
    page.press("#text", "Enter")


def no_wider(page):
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= page.viewport_size["width"]


def test_a_service_is_set_up_tried_out_and_asked(site, staff, agent):
    KnowledgeBase.objects.create(slug="ops", name="运维", audience="visitors")
    with loopback.serving(OrderService(site.service_port)) as service:
        page = staff(agent, "/admin/chat/httptool/add/")
        page.fill("#id_title", "订单状态")
        page.fill("#id_name", "order_status")
        page.fill("#id_description", "查一个订单到哪了。")
        page.fill("#id_triggers", "订单 {order} 到哪了")
        page.fill("#id_url", f"{service.address}/orders/{{number}}")
        page.fill("#id_answer", "订单 {order}：{data.status}，预计 {data.eta} 送达。")
        for name, value in ARGUMENT.items():
            page.fill(f"#id_arguments-0-{name}", value)
        page.select_option("#id_arguments-0-kind", "pattern")
        page.click("[name=_continue]")
        expect(page.locator(".field-url .errorlist")).to_contain_text("number")
        page.fill("#id_url", f"{service.address}/orders/{{order}}")
        page.click("[name=_continue]")
        expect(page.locator(".messagelist .success")).to_be_visible()
        expect(page.locator("#id_arguments-0-label")).to_have_value("订单号")

        page.click(".object-tools a[href$='/try/']")
        page.fill("#q", "我的订单到哪了")
        page.press("#q", "Enter")
        expect(page.locator("#chosen")).to_contain_text("请问订单号是多少？")
        page.fill("#id_order", "AB123456")
        page.click("[method=post] .default")
        expect(page.locator("#trial .said")).to_contain_text("运输中")
        expect(page.locator("#trial table")).to_contain_text("{data.items.0.name}")
        page.set_viewport_size({"width": 360, "height": 740})
        no_wider(page)
        page.goto(f"/admin/chat/httptool/{HttpTool.objects.get().pk}/change/")
        no_wider(page)

        page.goto("/")
        ask(page, "我的订单到哪了")
        said = page.locator(".message.assistant:not(#live)")
        expect(said.last).to_contain_text("请问订单号是多少？", timeout=60_000)
        ask(page, "AB123456")
        expect(said.last).to_contain_text("2026-11-23", timeout=30_000)
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto("/admin/chat/toolcall/")
        expect(page.locator("#result_list tbody tr")).to_have_count(2)
    assert ToolCall.objects.filter(status="done", trial=False).count() == 1

"""Staff make a topic in rows, try it, save it; a visitor is asked by it."""

import json

import pytest

from chat.models import Collected, Topic
from tests.pages.test_chat import delivered

pytestmark = pytest.mark.browser
ADD = "/admin/chat/topic/add/"


def fill(row, **values):
    for name, value in values.items():
        field = row.locator(f"[data-of={name.replace('_', '-')}]")
        if name == "kind":
            field.select_option(value)
        else:
            field.fill(value)


def schema(page):
    return json.loads(page.input_value("#id_schema"))


def test_a_topic_is_made_in_rows_tried_and_asked_by(staff, agent, visit):
    page = staff(agent, ADD)
    page.fill("#id_name", "打印机")
    page.fill("#id_triggers", "打印机坏了")
    rows = page.locator("#rows .row")
    for place, values in enumerate((
        {"title": "楼层", "x_ask": "在几楼？", "kind": "choice", "choices": "一楼 = 大堂\n二楼"},
        {"title": "编号", "x_ask": "机身编号是多少？", "kind": "pattern", "pattern": "P-\\d{3}"},
        {"title": "多余的"},
    )):  # fmt: skip
        page.click("#add")
        fill(rows.nth(place), **values)
    assert rows.nth(0).locator("[data-of=pattern]").is_hidden()

    # In another order; deleted and brought back; deleted for good.
    rows.nth(1).locator("[data-do=up]").click()
    assert schema(page)["required"] == ["field2", "field1", "field3"]
    rows.nth(0).locator("[data-do=delete]").click()
    page.click("#undo")
    assert schema(page)["required"] == ["field2", "field1", "field3"]
    rows.nth(2).locator("[data-do=delete]").click()
    assert schema(page)["properties"]["field1"]["x-synonyms"] == {"一楼": ["大堂"]}

    # What is written as JSON stands in the rows; what is none is said and loses nothing.
    page.locator("#raw summary").click()
    written = schema(page)
    page.fill("#id_schema", "{")
    page.locator("#unread").wait_for()
    written["properties"]["field2"]["x-ask"] = "编号？"
    page.fill("#id_schema", json.dumps(written))
    assert rows.nth(0).locator("[data-of=x-ask]").input_value() == "编号？"

    page.fill("#say", "大堂的打印机坏了")
    page.keyboard.press("Enter")
    page.locator(".told", has_text="一楼").wait_for()
    assert "编号？" in page.inner_text(".steps .reply")
    page.fill("#say", "P-077")
    page.keyboard.press("Enter")
    page.locator("q", has_text="P-077").wait_for()
    assert not Topic.objects.exists()

    page.click("[name=_save]")
    page.wait_for_url("**/admin/chat/topic/")
    assert Topic.objects.get().schema["required"] == ["field2", "field1"]

    guest = visit()
    guest.fill("#text", "打印机坏了")
    guest.keyboard.press("Enter")
    delivered(guest)
    guest.locator(".message.assistant", has_text="编号？").wait_for()
    guest.fill("#text", "P-042")
    guest.keyboard.press("Enter")
    guest.get_by_role("button", name="二楼").click()
    guest.locator(".message.customer", has_text="二楼").wait_for()
    guest.locator(".message:not(#live)").nth(5).wait_for()
    assert Collected.objects.get().values == {"field2": "P-042", "field1": "二楼"}


def test_the_page_fits_a_phone(staff, agent):
    page = staff(agent, ADD, viewport={"width": 360, "height": 740}, color_scheme="dark")
    page.click("#add")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360

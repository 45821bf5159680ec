"""The pictures of the README: `make screenshots` writes docs/screenshots/*.png."""

import io
from pathlib import Path

import pytest
from django.utils import translation
from PIL import Image

from chat.exports import pdf
from chat.exports.answer import Answer
from chat.models import Message
from handoff import desk
from knowledge.models import Document
from tests.pages.conftest import sign_in
from tests.pages.test_chat import DRAIN, QUESTIONS, ask, conversation_of, delivered

pytestmark = pytest.mark.browser

TARGET = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
PHONE = {"width": 390, "height": 844}


def shoot(page, name):
    """A picture of what the window shows, in at most 256 colours."""
    page.wait_for_load_state("networkidle")
    page.evaluate("document.activeElement.blur()")
    keep(Image.open(io.BytesIO(page.screenshot(animations="disabled"))), name)


def keep(shown, name):
    TARGET.mkdir(parents=True, exist_ok=True)
    colours = shown.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    colours.save(TARGET / f"{name}.png", optimize=True)


def test_an_answer(page):
    ask(page, DRAIN)
    shoot(page, "chat-answer")


def test_an_answer_on_a_phone_at_night(visit):
    page = visit(viewport=PHONE, color_scheme="dark")
    ask(page, QUESTIONS["常见问题.xlsx"][0])
    shoot(page, "chat-phone-dark")


def test_the_cited_page(page):
    answer = ask(page, QUESTIONS["数据库运维手册.pdf"][0])
    answer.locator(".source").first.click()
    page.wait_for_selector("#drawer .cited")
    shoot(page, "chat-source")


def test_an_exported_answer(page):
    ask(page, QUESTIONS["数据库运维手册.pdf"][0])
    answered = conversation_of(page).messages.filter(role=Message.Role.ASSISTANT).latest("seq")
    with translation.override("zh-hans"):
        pages = pdf.pages(Answer.of(answered))
    for n, png in enumerate(pages[:2], 1):
        keep(Image.open(io.BytesIO(png)), f"export-{n}")


def test_the_documents(page, agent, site):
    Document.objects.update(created_by=agent)
    sign_in(page, agent)
    page.goto("/admin/knowledge/document/")
    shoot(page, "admin-documents")


def test_a_person_takes_over(page, agent, visit):
    page.click("#person")
    page.wait_for_selector(".system[data-event=handoff_requested]")
    conversation = conversation_of(page)
    page.fill("#text", "订单库连不上，业务已中断，请尽快处理。")
    page.keyboard.press("Enter")
    delivered(page)
    desk.claim(conversation, agent)
    desk.reply(conversation, agent, "已接手，正在检查主库连接数，请保持在线。")
    page.locator(".message.agent").wait_for()
    desktop = visit()
    sign_in(desktop, agent)
    desktop.goto(f"/console/#{conversation.pk}")
    desktop.locator(".message.agent").wait_for()
    shoot(desktop, "handoff")

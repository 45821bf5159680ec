"""What a message can hold, what the composer takes, and the chat in a page of another site:
another origin, and to the browser another site."""

import base64
import time

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from chat import transcript
from chat.models import Conversation, Message, Upload, WidgetSite
from tests.browser import wait_for
from tests.pages.conftest import sign_in
from tests.pages.test_chat import (
    DRAIN,
    ask,
    conversation_of,
    delivered,
    findings,
    said,
    scrolls_sideways,
)
from tests.portal import Portal, serving

pytestmark = pytest.mark.browser

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
RICH = """系统可用性 $A = \\frac{MTBF}{MTBF + MTTR}$，价格 $5 到 $10。

$$
\\sum_{i=1}^{n} \\frac{\\lambda_i \\cdot t_i^2 + \\alpha_i}{\\mu_i - \\lambda_i} + \\prod_{j=1}^{m} \\left(1 - e^{-\\beta_j t}\\right) = \\int_0^{T} f(x)\\,dx
$$

| 节点 | 地址 | 说明 | 负责人 | 备注 |
| --- | --- | --- | --- | --- |
| node-1 | 10.20.30.40 | 主数据库所在的物理机 | 张三 | kubectl-very-long-token-without-any-break |

```sh
curl -X POST https://registry.internal.example.com/v2/library/application/manifests/latest --header 'Authorization: Bearer x'
```

见 https://wiki.example.com/a/very/long/path/without/any/break/%E8%BF%90%E7%BB%B4%E6%89%8B%E5%86%8C/index.html

$\\notacommand{x}=$"""  # noqa: E501


def told(page, text, **data):
    """What OpsDesk might have said in the conversation of `page`."""
    page.fill("#text", "你好")
    page.keyboard.press("Enter")
    page.locator(".message.assistant:not(#live)").first.wait_for()
    conversation = conversation_of(page)
    return transcript.append(conversation.pk, Message.Role.ASSISTANT, text, data=data)


def test_formulas_are_drawn_and_nothing_scrolls_the_page_sideways(page):
    told(page, RICH, degraded=["no_reranker"], options=["确认", "取消"])
    answer = page.locator(".message", has=page.locator(".katex"))
    answer.locator(".katex-display").wait_for()
    expect(answer.locator(".katex")).to_have_count(2)
    expect(answer.locator("math")).to_have_count(2)  # screen readers read MathML
    assert "价格 $5 到 $10。" in answer.inner_text()
    expect(answer.locator(".math.unread")).to_have_text("\\notacommand{x}=")
    assert "结果未经重新排序" in answer.locator(".degraded").inner_text()
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 800})
        assert scrolls_sideways(page) == [], width
        assert findings(page) == []
    for part in (".wide-table", "pre", ".math.display"):
        scrolls = answer.locator(part).first
        wait_for(lambda one=scrolls: one.evaluate("e => e.scrollWidth > e.clientWidth"), part)
        wait_for(lambda one=scrolls: one.evaluate("e => e.tabIndex === 0"), part)
    answer.get_by_role("button", name="取消").click()
    wait_for(lambda: ["customer", "取消"] in said(page)[-3:], "what was chosen to be said")


def test_files_go_with_a_message_and_drafts_stay_over_a_reload(page):
    page.set_input_files("#files", [
        {"name": "shot.png", "mimeType": "image/png", "buffer": PIXEL},
        {"name": "app.exe", "mimeType": "application/octet-stream", "buffer": b"MZ\0\1\2\xff\xfe"},
    ])  # fmt: skip
    page.locator(".file .thumb img").wait_for()
    page.locator(".file .wrong:not(:empty)").wait_for()
    page.get_by_label("移除 app.exe").click()
    # A long text that is pasted is a file.
    page.fill("#text", "这是什么报错")
    page.locator("#text").evaluate(
        "(e, text) => { const data = new DataTransfer(); data.setData('text/plain', text);"
        " e.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true,"
        " cancelable: true})) }",
        "ERROR 1040 Too many connections\n" * 100,
    )
    page.locator(".file").nth(1).wait_for()
    wait_for(lambda: Upload.objects.filter(message=None).count() == 2, "both to be there")
    page.locator("#send:enabled").wait_for()
    page.reload()
    page.locator(".file").nth(1).wait_for()
    expect(page.locator("#text")).to_have_value("这是什么报错")
    page.locator("#text").press("Enter")
    message = page.locator(".message.customer")
    message.locator(".uploads a").wait_for()
    delivered(page)
    sent = conversation_of(page).messages.get(role="customer")
    assert sorted(sent.uploads.values_list("kind", flat=True)) == ["picture", "text"]
    message.locator(".picture").click()
    page.wait_for_selector("#zoom[open]")
    page.keyboard.press("Escape")
    expect(page.locator(".file")).to_have_count(0)
    expect(message.locator(".picture")).to_be_focused()


def test_who_is_signed_in_goes_back_to_what_they_asked(page):
    user, _made = User.objects.get_or_create(username="ann")
    old = Conversation.objects.create(user=user, title="磁盘满了")
    transcript.append(old.pk, "customer", "磁盘满了怎么办")
    transcript.append(old.pk, "assistant", "先看 `df -h`")
    assert page.locator("#past").is_hidden()
    sign_in(page, user)
    page.reload()
    page.fill("#text", "写了一半")
    page.click("#past")
    expect(page.locator("#history input")).to_be_focused()
    page.keyboard.type("df -h")
    row = page.locator("#history li button")
    row.get_by_text("磁盘满了").wait_for()
    page.fill("#history input", "没有说过的话")
    page.locator("#history .nothing:visible").wait_for()
    page.fill("#history input", "")
    row.first.wait_for()
    row.get_by_text("磁盘满了").click()
    page.locator("#log").get_by_text("df -h").wait_for()
    assert conversation_of(page) == old
    expect(page.locator("#text")).to_have_value("")  # it was written in another conversation
    page.fill("#text", "接着问")
    page.click("#new")
    page.wait_for_selector("#empty:visible")
    expect(page.locator("#text")).to_have_value("接着问")  # it goes along to a new one


def test_offline_is_told_and_what_is_written_waits(page):
    ask(page, "你好")
    page.context.set_offline(True)
    page.locator("#banner", has_text="网络已断开").wait_for()
    page.fill("#text", DRAIN)
    page.keyboard.press("Enter")
    page.locator(".sending", has_text="等待网络").wait_for()
    page.context.set_offline(False)
    page.wait_for_selector(".source")
    expect(page.locator("#banner")).to_be_hidden()
    assert [text for role, text in said(page) if role == "customer"] == ["你好", DRAIN]


# --- in a page of another site --------------------------------------------------


@pytest.fixture
def portal(site):
    made = Portal(site.url)
    row = WidgetSite(name="门户", origins=made.origin)
    made.secret = row.renew_secret()
    row.save()
    made.key = row.key
    with serving(made.server):
        yield made


@pytest.fixture
def enter(chromium, portal):
    """`enter(**options)`: the page of the portal in a new browser."""
    contexts, problems = [], []

    def enter(context=None, **options):
        if context is None:
            context = chromium.new_context(**{"locale": "zh-CN", **options})
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text)
                if "Content Security Policy" in line.text and "frame-ancestors" not in line.text
                else None)  # fmt: skip
        page.goto(portal.origin)
        page.locator("#opsdesk-widget button").wait_for()
        return page

    yield enter
    for context in contexts:
        context.close()
    assert problems == []


def opened(page):
    page.locator("#opsdesk-widget button").click()
    frame = page.frame_locator("#opsdesk-widget iframe")
    frame.locator("#empty:visible, #log > .message").first.wait_for()
    return frame


def asked(frame, question):
    frame.locator("#text").fill(question)
    frame.locator("#text").press("Enter")
    frame.locator(".message .source").first.wait_for()


def test_the_widget_answers_in_another_sites_page(enter, portal):
    page = enter()
    launcher = page.locator("#opsdesk-widget button")
    assert launcher.get_attribute("aria-expanded") == "false"
    assert launcher.get_attribute("aria-label") == "打开在线咨询"
    assert launcher.evaluate("e => getComputedStyle(e).color") == "rgb(0, 0, 0)", "on yellow"
    frame = opened(page)
    expect(launcher).to_have_attribute("aria-expanded", "true")
    assert page.locator("#opsdesk-widget iframe").get_attribute("title") == "运维咨询"
    wait_for(lambda: frame.locator("#text").evaluate("e => e === document.activeElement"), "focus")
    asked(frame, DRAIN)
    frame.locator(".cite").first.click()
    frame.locator("#drawer .cited").first.wait_for()
    frame.locator("#drawer").press("Escape")  # shuts the original, not the chat
    expect(frame.locator("#drawer")).to_be_hidden()
    expect(launcher).to_have_attribute("aria-expanded", "true")
    frame.locator("#text").press("Escape")
    page.locator("#opsdesk-widget .panel").wait_for(state="hidden")
    focused = "document.getElementById('opsdesk-widget').shadowRoot.activeElement.localName"
    wait_for(lambda: page.evaluate(focused) == "button", "the focus to come back")
    expect(launcher).to_have_attribute("aria-expanded", "false")
    made = Conversation.objects.get(channel="widget")
    assert (made.site.key, made.identity, made.verified) == (portal.key, "", False)
    # The browser keeps who it is for this site: after a reload the conversation goes on.
    page.reload()
    opened(page).locator(".message .source").first.wait_for()


def test_whom_the_site_knows_finds_their_conversations_elsewhere(enter, portal):
    portal.visitor = "zhang.san"
    asked(opened(enter()), DRAIN)
    phone = enter(viewport={"width": 390, "height": 844})
    frame = opened(phone)
    frame.locator("#empty").wait_for()
    panel = phone.locator("#opsdesk-widget .panel").bounding_box()
    assert (panel["width"], panel["height"]) == (390, 844)
    frame.locator("#past").click()
    frame.locator("#history li button").first.click()
    frame.locator(".message .source").first.wait_for()
    with phone.expect_download() as download:  # the frame's cookie says whose it is
        frame.locator(".docx").click()
    assert download.value.suggested_filename.endswith(".docx")
    frame.locator("#leave").click()
    phone.locator("#opsdesk-widget .panel").wait_for(state="hidden")
    # Who signed out of the site is nobody here.
    portal.visitor = ""
    phone.reload()
    frame = opened(phone)
    frame.locator("#empty:visible").wait_for()
    assert frame.locator("#past").is_hidden()


def test_a_word_that_ran_out_is_asked_for_again(enter, portal):
    portal.visitor, portal.seconds = "li.si", -28  # good for two seconds, with the leeway
    frame = opened(enter())
    first, until = portal.asked, time.time() + 2.1
    portal.seconds = 600
    wait_for(lambda: time.time() > until, "the token to end")
    asked(frame, DRAIN)
    assert portal.asked > first
    assert Conversation.objects.get(identity="li.si").messages.filter(role="customer").count() == 1


def test_a_page_of_another_origin_does_not_get_the_chat(enter, portal):
    WidgetSite.objects.filter(key=portal.key).update(origins="https://portal.example.com")
    page = enter()
    with page.expect_console_message(lambda said: "frame-ancestors" in said.text):
        page.locator("#opsdesk-widget button").click()
    frames = [frame for frame in page.frames if "/embed/" in frame.url]
    assert not any(frame.locator("#text").count() for frame in frames)


# What some page may say of all its elements.
HOSTILE = """() => { const sheet = new CSSStyleSheet();
sheet.replaceSync("div { display: none !important; opacity: 0 } body { transform: scale(.5) }");
document.adoptedStyleSheets = [sheet]; }"""


def test_the_widget_is_accessible_whatever_styles_the_page_has(enter):
    page = enter()
    page.evaluate(HOSTILE)
    assert page.locator("#opsdesk-widget button").bounding_box()["width"] == 56
    asked(opened(page), DRAIN)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert findings(page) == [], scheme

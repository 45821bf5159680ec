"""Staff set up an HTTP tool, try it out and read what was called."""

import pytest
from django.contrib.auth.models import User

from chat.models import HttpTool, ToolCall
from chat.tools import calling
from opsdesk.sealing import unseal
from tests import loopback
from tests.chat.conftest import permission
from tests.chat.order_service import OrderService

pytestmark = pytest.mark.django_db
LIST = "/admin/chat/httptool/"


@pytest.fixture
def service(settings):
    calling._breaker.cache_clear()
    with loopback.serving(OrderService()) as service:
        settings.TOOL_HOSTS = [f"127.0.0.1:{service.server_port}"]
        yield service


def filled(service, **changes):
    """The form as a person fills it in."""
    return {
        "title": "订单状态",
        "name": "order_status",
        "description": "查一个订单到哪了。",
        "enabled": "on",
        "triggers": "订单 {order} 到哪了",
        "method": "GET",
        "url": f"{service.address}/orders/{{order}}",
        "headers": "X-App: opsdesk",
        "secrets": "Authorization: Bearer s3cret",
        "body": "",
        "timeout": "5",
        "answer": "订单 {order}：{data.status}",
        "nothing": "没有订单 {order}。",
        "arguments-TOTAL_FORMS": "2",
        "arguments-INITIAL_FORMS": "0",
        "arguments-0-name": "order",
        "arguments-0-label": "订单号",
        "arguments-0-ask": "请问订单号是多少？",
        "arguments-0-kind": "pattern",
        "arguments-0-detail": r"[A-Z]{2}\d{6}",
        "arguments-0-example": "AB123456",
        "arguments-0-needed": "on",
        "arguments-1-kind": "text",
        "arguments-1-needed": "on",
        **changes,
    }


def made(admin_client, service, **changes):
    admin_client.post(f"{LIST}add/", filled(service, **changes))
    return HttpTool.objects.get()


def test_a_tool_is_set_up_without_a_line_of_json(admin_client, service):
    assert admin_client.get(f"{LIST}add/").status_code == 200
    tool = made(admin_client, service)
    assert tool.schema == {
        "type": "object",
        "properties": {
            "order": {
                "type": "string", "title": "订单号", "x-ask": "请问订单号是多少？",
                "pattern": r"[A-Z]{2}\d{6}", "examples": ["AB123456"],
            }
        },
        "required": ["order"],
        "additionalProperties": False,
    }  # fmt: skip
    assert unseal(tool.secret) == "Authorization: Bearer s3cret"
    page = admin_client.get(f"{LIST}{tool.pk}/change/").content.decode()
    assert "请问订单号是多少？" in page and "s3cret" not in page
    assert "订单状态" in admin_client.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("name", "export_pdf"),
        ("name", "Order Status"),
        ("url", "ftp://erp.corp/x"),
        ("url", "https://{order}/x"),
        ("url", "https://a:b@erp.corp/"),
        ("url", "https://erp.corp/{number}"),
        ("triggers", "{order}"),
        ("triggers", "订单 {number} 到哪了"),
        ("headers", "no colon"),
        ("headers", "Host: other"),
        ("secrets", "Authorization: 中文"),
        ("body", '{"a": "{order}"}'),  # of a GET
        ("timeout", "51"),
        ("answer", ""),
        ("arguments-0-name", "user"),
        ("arguments-0-detail", "("),
        ("arguments-0-detail", "(a+)+$"),
        ("arguments-0-detail", ""),
        ("arguments-0-example", "not fitting"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_lost(admin_client, service, field, wrong):
    answer = admin_client.post(f"{LIST}add/", filled(service, **{field: wrong}))
    assert answer.status_code == 200 and not HttpTool.objects.exists()
    page = answer.content.decode()
    assert 'class="errorlist' in page and "请问订单号是多少？" in page


def test_a_body_is_json_with_places(admin_client, service):
    bad = filled(service, method="POST", body="{order}")
    assert admin_client.post(f"{LIST}add/", bad).status_code == 200
    tool = made(admin_client, service, method="POST", body='{"no": "{order}", "by": "{user}"}')
    assert tool.body


def test_secrets_stay_until_the_host_is_another(admin_client, service):
    tool = made(admin_client, service)
    change = f"{LIST}{tool.pk}/change/"
    there = {"arguments-INITIAL_FORMS": "1", "arguments-TOTAL_FORMS": "2"}
    admin_client.post(change, filled(service, secrets="", title="订单", **there))
    before, schema = tool.title, tool.schema
    tool.refresh_from_db()
    assert (before, tool.title, bool(tool.secret)) == ("订单状态", "订单", True)
    assert tool.schema == schema
    elsewhere = filled(service, secrets="", url="https://evil.example/{order}", **there)
    admin_client.post(change, elsewhere)
    tool.refresh_from_db()
    assert tool.secret == ""


def test_a_host_that_cannot_be_called_is_told_at_once(admin_client, service, settings):
    settings.TOOL_HOSTS = []
    page = admin_client.post(f"{LIST}add/", filled(service), follow=True).content.decode()
    assert "OPSDESK_TOOL_HOSTS" in page


def test_a_tool_is_tried_out_for_real_and_on_record(admin_client, service):
    tool = made(admin_client, service)
    url = f"{LIST}{tool.pk}/try/"
    page = admin_client.get(url, {"q": "订单到哪了"}).content.decode()
    assert "请问订单号是多少？" in page and not service.asked
    assert (
        'value="AB123456"' in admin_client.get(url, {"q": "订单 AB123456 到哪了"}).content.decode()
    )
    page = admin_client.post(url, {"order": "AB123456"}).content.decode()
    assert "订单 AB123456：运输中" in page and "{data.items.0.name}" in page and "交换机" in page
    call = ToolCall.objects.get()
    assert (call.trial, call.status, call.user.username) == (True, "done", "admin")
    service.does = [500]
    assert "500" in admin_client.post(url, {"order": "AB123456"}).content.decode()
    assert len(service.asked) == 2
    admin_client.post(url, {"order": "x"})
    assert len(service.asked) == 2  # what does not fit is not sent


def test_who_may_not_change_tools_may_not_call_them(client, admin_client, service):
    tool = made(admin_client, service)
    user = User.objects.create_user("mei", is_staff=True)
    user.user_permissions.add(permission("chat.view_httptool"))
    client.force_login(user)
    for answer in (client.get(f"{LIST}{tool.pk}/try/"), client.post(f"{LIST}{tool.pk}/try/")):
        assert answer.status_code == 403
    assert client.get("/admin/chat/toolcall/").status_code == 403
    assert admin_client.get(f"{LIST}0/try/").status_code == 404
    assert not service.asked


def test_the_record_is_read_searched_and_taken_along(admin_client, service):
    tool = made(admin_client, service)
    admin_client.post(f"{LIST}{tool.pk}/try/", {"order": "AB123456"})
    ToolCall.objects.create(tool="other", status="failed", error="=cmd|x", arguments={"a": "b"})
    call = ToolCall.objects.get(tool="order_status")
    address = "/admin/chat/toolcall/"
    page = admin_client.get(address, {"q": "AB123456"}).content.decode()
    assert "order_status" in page and "=cmd" not in page
    page = admin_client.get(f"{address}{call.pk}/change/").content.decode()
    assert "运输中" in page and 'name="_save"' not in page
    chosen = {"action": "export", "_selected_action": [c.pk for c in ToolCall.objects.all()]}
    sheet = admin_client.post(address, chosen)
    assert sheet["Content-Type"].startswith("text/csv")
    text = sheet.content.decode("utf-8-sig")
    assert "AB123456" in text and "运输中" in text and ",=cmd" not in text
    assert admin_client.post(f"{address}add/").status_code == 403
    assert admin_client.post(f"{address}{call.pk}/delete/").status_code == 403

import json

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from chat.models import Collected, Conversation, Topic
from tests.chat.conftest import permission

SCHEMA = {
    "type": "object",
    "properties": {
        "system": {"title": "系统", "x-ask": "哪个系统？", "enum": ["VPN", "堡垒机"]},
        "staff": {"title": "工号", "x-ask": "工号是多少？", "pattern": "[A-Z]\\d{5}"},
    },
    "required": ["system", "staff"],
}
FORM = {
    "name": "账号权限", "when": "always", "enabled": "on", "triggers": "开通账号\n申请 权限",
    "examples": "", "schema": json.dumps(SCHEMA),
}  # fmt: skip
TRY = reverse("admin:chat_topic_try")


@pytest.fixture
def sign_in(client, db):
    def sign_in(*names):
        user = User.objects.create(username="lin", is_staff=True)
        user.user_permissions.add(*map(permission, names))
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def topic(db):
    return Topic.objects.create(name="账号权限", triggers=["开通账号"], schema=SCHEMA)


def test_a_topic_is_made_by_whoever_may(sign_in):
    client = sign_in("chat.add_topic", "chat.view_topic")
    assert client.post(reverse("admin:chat_topic_add"), FORM).status_code == 302
    topic = Topic.objects.get()
    assert topic.triggers == ["开通账号", "申请 权限"]
    assert topic.schema["x-order"] == ["system", "staff"]


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("{", "第 1 行"),
        ('{"type": "object", "properties": {}}', "至少要有一个字段"),
        ('{"properties": {"a": {"title": "编号", "pattern": "(x+x+)+y"}}}', "耗时太长"),
    ],
)
def test_a_schema_that_is_wrong_is_kept_and_told_in_a_sentence(sign_in, schema, said):
    client = sign_in("chat.add_topic")
    page = client.post(
        reverse("admin:chat_topic_add"),
        FORM | {"schema": schema},
        headers={"accept-language": "zh"},
    )
    assert said in page.content.decode()
    assert not Topic.objects.exists()


def test_it_is_tried_before_it_is_saved_and_nothing_is_written(sign_in):
    client = sign_in("chat.add_topic")
    said = ["帮我开通账号", "VPN", "A10086"]
    made = client.post(TRY, FORM | {"name": "", "said": said}, headers={"accept-language": "zh"})
    html = made.json()["html"]
    assert "哪个系统？" in html
    assert 'data-say="VPN"' not in html  # only the last question has buttons
    assert "帮我开通账号 VPN A10086" in html
    assert not Topic.objects.exists()
    assert not Conversation.objects.exists()
    assert not Collected.objects.exists()


def test_what_cannot_be_tried_says_why(sign_in):
    client = sign_in("chat.add_topic")
    made = client.post(TRY, FORM | {"schema": "[]", "said": "x"})
    assert made.status_code == 400
    assert "object" in made.json()["errors"][0]


@pytest.mark.parametrize("name", ["chat.view_topic", "chat.view_conversation"])
def test_who_may_only_look_tries_and_imports_nothing(sign_in, topic, name):
    client = sign_in(name)
    assert client.post(TRY, FORM).status_code == 403
    assert client.post(TRY, FORM | {"topic": topic.pk}).status_code == 403
    assert client.get(reverse("admin:chat_topic_import")).status_code == 403
    exported = client.get(reverse("admin:chat_topic_export", args=[topic.pk]))
    assert exported.status_code == (200 if name == "chat.view_topic" else 403)


def test_a_topic_goes_out_as_a_file_and_comes_in_again(sign_in, topic):
    client = sign_in("chat.view_topic", "chat.add_topic", "chat.change_topic")
    data = client.get(reverse("admin:chat_topic_export", args=[topic.pk])).content
    file = SimpleUploadedFile("a.json", data)
    assert client.post(reverse("admin:chat_topic_import"), {"file": file}).status_code == 302
    copy = Topic.objects.get(name="账号权限 2")
    assert (copy.schema, copy.triggers) == (topic.schema, topic.triggers)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe", b"{", b"[]", b'{"kind": "opsdesk-topic"}',
        b'{"kind": "opsdesk-topic", "name": "x", "schema": {"properties": {}}}',
        b'{"kind": "opsdesk-topic", "name": "x", "when": "never", "schema": '
        b'{"type": "object", "properties": {"a": {}}}}',
        b'{"kind": "opsdesk-topic", "name": "x", "triggers": "y"}', b"[" * 100000,
    ],
)  # fmt: skip
def test_a_file_that_holds_no_topic_is_refused(sign_in, data):
    client = sign_in("chat.add_topic")
    page = client.post(
        reverse("admin:chat_topic_import"), {"file": SimpleUploadedFile("a.json", data)}
    )
    assert page.status_code == 200
    assert page.context["form"].errors["file"]
    assert not Topic.objects.exists()


def test_staff_see_what_was_told(sign_in, topic, conversation):
    Collected.objects.create(
        conversation=conversation, topic=topic, name=topic.name, question="开通账号",
        values={"system": "<VPN>"}, fields=[["system", "系统"], ["staff", "工号"]],
        declined=["staff"],
    )  # fmt: skip
    client = sign_in("chat.view_conversation")
    page = client.get(
        reverse("admin:chat_conversation_change", args=[conversation.pk]),
        headers={"accept-language": "zh"},
    ).content.decode()
    assert "<dt>系统</dt><dd>&lt;VPN&gt;</dd>" in page
    assert "未提供" in page

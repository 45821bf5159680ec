"""No model sees a secret, and no trace keeps one, whatever the door."""

import json

import pytest
from django.test import Client

from chat import asking, graph, runner
from chat.models import Turn, Upload
from chat.state import Said
from tests.chat.fake_model import FakeModel

SECRETS = {
    "phone": "13812345678",
    "card": "6222021234567894",
    "id": "11010519491231002X",
    "password": "P@ssw0rd!x",
    "token": "ghp_0123456789abcdefghij0123456789abcdef",
    "url": "s3cr3tpw",
}
SAID = (
    f"我是张三，手机 {SECRETS['phone']}，卡号 {SECRETS['card']}，身份证 {SECRETS['id']}，"
    f"密码：{SECRETS['password']}，token={SECRETS['token']}，库 mysql://root:{SECRETS['url']}@10.0.0.5:3306/db，"
    "数据库怎么备份？"
)  # fmt: skip


@pytest.fixture
def model(settings):
    settings.CONFIDENCE = 0.0  # whatever is found is answered from
    fake = FakeModel()
    fake.script = ["备份保留 14 天。[1]"]
    fake.structured["understand"] = {
        "intent": "question", "mood": "calm", "question": "数据库怎么备份？", "values": {},
    }  # fmt: skip
    settings.BACKENDS = {
        **settings.BACKENDS,
        "llm": {
            "BACKEND": "chat.llms.OpenAIModel",
            "OPTIONS": {
                "base_url": fake.url, "api_key": "k", "model": "fake", "temperature": 0.2,
                "timeout": 10,
            },
        },
    }  # fmt: skip
    yield fake
    fake.close()


def told(model):
    return json.dumps(model.requests, ensure_ascii=False)


def leaked(text):
    return [name for name, secret in SECRETS.items() if secret in text]


def test_no_model_sees_what_a_message_its_log_or_its_history_holds(base, conversation, model):
    log = f"看下报错\n2024-05-01 10:00:00 ERROR login failed password={SECRETS['password']}\n" \
          f"2024-05-01 10:00:01 ERROR token={SECRETS['token']} denied"  # fmt: skip
    upload = Upload.objects.create(
        visitor=conversation.visitor, kind="text", name="a.log", media_type="text/plain", size=9,
        state="read", text=f"ERROR sms to {SECRETS['phone']} failed",
    )  # fmt: skip
    asking.ask(conversation, SAID)
    runner.run_waiting()
    asking.ask(conversation, log, uploaded=[upload.pk])
    asking.ask(conversation, "那备份在哪里")
    runner.run_waiting()
    assert Turn.objects.filter(status="done").count() == 3, list(Turn.objects.values_list("trace"))
    assert model.requests
    assert not leaked(told(model))
    assert "10.0.0.5:3306" in told(model)  # what is asked about stays
    assert not leaked(str(list(Turn.objects.values_list("trace", "pending"))))
    assert leaked(conversation.messages.get(seq=1).text) == list(SECRETS)  # as they wrote it


def test_nor_outside_a_conversation(base, model):
    graph.answer_question(SAID, [base], history=[Said("customer", SAID, "answered")])
    assert model.requests
    assert not leaked(told(model))


def test_nor_by_the_api(base, model, admin_user, monkeypatch):
    monkeypatch.setattr(runner, "alive", lambda: True)
    monkeypatch.setattr("chat.api._wait", lambda turn: bool(runner.run_waiting()))
    one = Client()
    one.force_login(admin_user)
    body = {"knowledge_base": base.slug, "question": SAID}
    answer = one.post("/api/v1/ask/", body, content_type="application/json")
    assert answer.status_code == 200, answer.content
    assert model.requests
    assert not leaked(told(model))

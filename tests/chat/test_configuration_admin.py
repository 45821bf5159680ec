"""Staff write configurations, try them, put them to use and go back."""

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from chat import configurations, prompting
from chat.models import Configuration
from knowledge.parsing.document import Block
from opsdesk.gates import Refusal
from tests.chat.conftest import put
from tests.knowledge import documents

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ungated(settings):
    settings.GATES = []


def refusing(change):
    return Refusal("有 2 题答错了。", "/admin/")


def url(name, *args):
    return reverse(f"admin:chat_configuration_{name}", args=args)


def made(**overrides):
    number = Configuration.objects.count() + 1
    return Configuration.objects.create(name="试验", version=number, overrides=overrides)


def prompts(**changed):
    """All as they are shipped, but for those."""
    texts = {f"prompt:{one}": prompting.shipped(one).template for one in configurations.PROMPTS}
    return texts | {f"prompt:{name.replace('_', '.')}": text for name, text in changed.items()}


def test_a_draft_is_written_in_a_form_and_keeps_what_differs(admin_client):
    given = {"name": "更严", "CONFIDENCE": "0.7", "JUDGE": "True", "LLM": "", **prompts()}
    page = admin_client.post(url("add"), given)
    assert page.status_code == 302
    row = Configuration.objects.get()
    assert row.overrides == {"CONFIDENCE": 0.7, "JUDGE": True}
    shown = admin_client.get(url("change", row.pk)).content.decode()
    assert "0.7" in shown
    assert 'value="True" selected' in shown
    admin_client.post(url("add"), given)
    assert Configuration.objects.first().version == 2
    given |= {"CONFIDENCE": "", **prompts(judge_user="$passages\n$sentences\n逐句核对")}
    admin_client.post(url("change", row.pk), given)
    row.refresh_from_db()
    assert set(row.overrides) == {"JUDGE", "prompt:judge.user"}


def test_a_draft_that_is_renamed_is_the_next_version_of_that_name(admin_client):
    Configuration.objects.create(name="乙", version=3)
    row = Configuration.objects.create(name="甲")
    for name, version in (("乙", 4), ("乙", 4), ("丙", 1)):
        admin_client.post(url("change", row.pk), {"name": name, **prompts()})
        row.refresh_from_db()
        assert (row.name, row.version) == (name, version)


def test_what_cannot_be_is_said_beside_its_field_and_nothing_is_lost(admin_client):
    given = {"name": "坏", "CONFIDENCE": "7", **prompts(judge_user="只看 $passages")}
    page = admin_client.post(url("add"), given)
    text = page.content.decode()
    assert page.status_code == 200
    assert "$sentences" in text
    assert "只看 $passages" in text
    assert not Configuration.objects.exists()
    model = admin_client.post(url("add"), {"name": "坏", "OPENAI_MODEL": "qwen", **prompts()})
    assert "OPENAI_BASE_URL" in model.content.decode()


def test_it_is_put_to_use_and_another_version_begins_as_it_is(admin_client):
    first = made(PASSAGES=3)
    assert "3" in admin_client.get(url("change", first.pk)).content.decode()
    admin_client.post(url("use", first.pk))
    assert configurations.active() == first
    page = admin_client.post(url("another", first.pk), follow=True)
    second = Configuration.objects.get(version=2)
    assert str(second) in page.content.decode()
    assert (second.overrides, second.state) == ({"PASSAGES": 3}, "draft")
    admin_client.post(url("use", second.pk))
    edited = admin_client.post(url("change", first.pk), {"name": "另一个", **prompts()})
    assert edited.status_code == 403  # it was in use
    admin_client.post(url("use", first.pk))  # and is again
    assert configurations.active() == first
    admin_client.post(url("end", first.pk))
    assert configurations.active() is None
    assert admin_client.get(url("changelist")).status_code == 200


def test_a_refusal_is_told_and_overruled_with_a_reason_by_who_may(client, settings):
    settings.GATES = [f"{__name__}.refusing"]
    row = made(PASSAGES=3)
    user = User.objects.create_user("lin", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="change_configuration"))
    client.force_login(user)
    page = client.post(url("use", row.pk), follow=True)
    assert "有 2 题答错了。" in page.content.decode()
    assert client.post(url("use", row.pk), {"overrule": "急"}).status_code == 403
    assert configurations.active() is None
    user.user_permissions.add(Permission.objects.get(codename="overrule_gate"))
    client.post(url("use", row.pk), {"overrule": "急"})
    row.refresh_from_db()
    assert (row.state, row.overruled) == ("active", "急")


def test_others_may_neither_see_nor_use(client):
    row = made()
    client.force_login(User.objects.create_user("lin", is_staff=True))
    for name in ("use", "recall", "end", "another"):
        assert client.post(url(name, row.pk)).status_code == 403
        assert client.get(url(name, row.pk)).status_code == 405
    assert client.get(url("change", row.pk)).status_code == 403


def test_a_question_is_tried_beside_what_is_in_use(admin_client, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    base = documents.base()
    text = "数据库每天 02:30 全量备份，备份文件保存在 /data/backup 目录，保留 14 天。"
    put(base, "数据库备份", Block("paragraph", text))
    row = made(CONFIDENCE=1.0)
    page = admin_client.get(
        url("change", row.pk), {"question": "备份文件保存在哪个目录？", "base": base.pk}
    )
    before, after = page.context["answers"]
    assert "/data/backup" in before["html"]
    assert "/data/backup" not in after["html"]
    assert after["confidence"] == before["confidence"]

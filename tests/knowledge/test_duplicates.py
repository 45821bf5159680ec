import datetime
import random

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import timezone

from knowledge import duplicates, likeness, scope
from knowledge.admin.duplicates import compared
from knowledge.models import Chunk, Document, KnowledgeBase, Role, Similarity
from tests.knowledge import documents
from tests.knowledge.test_curating import put, sections

pytestmark = pytest.mark.django_db
LIST = reverse("admin:knowledge_similarity_changelist")
OUTDATED = reverse("admin:knowledge_similarity_outdated")
STEPS = (
    "重启前先在监控上确认没有告警，通知值班经理，备份配置文件，再按先备后主的顺序逐台重启，"
    "每台重启后等待五分钟，确认流量恢复正常以后才能继续下一台，全部完成后在工单里写明时间。"
)
OTHER = (
    "证书到期前三十天会收到邮件提醒，先生成新的证书请求，提交给安全组签发，签发以后放到网关的"
    "证书目录，执行检查命令，最后平滑加载配置，并用浏览器核对有效期是否已经更新为新的日期。"
)
FOOTER = (
    "本文档属于内部资料，未经信息安全部书面许可，任何人不得以任何形式复制、转发或者对外披露"
    "其中的任何内容。"
)


@pytest.fixture
def base():
    return documents.base()


def pairs(base):
    duplicates.find(base.pk)
    rows = Similarity.objects.filter(knowledge_base=base)
    return {(row.first_id, row.second_id): row for row in rows}


def test_the_same_and_nearly_the_same_are_found(base):
    first, same, near, _other = documents.put_many(
        base, STEPS, STEPS.replace("，", ", "), STEPS.replace("五分钟", "十分钟"), OTHER
    )
    found = pairs(base)
    assert found.keys() == {(first.pk, same.pk), (first.pk, near.pk), (same.pk, near.pk)}
    assert found[first.pk, same.pk].examples[0]["score"] == 1
    assert likeness.ALIKE <= found[first.pk, near.pk].examples[0]["score"] < 1
    assert {row.share for row in found.values()} == {1.0}


def test_pairs_are_those_that_comparing_each_with_each_finds(base):
    chance, letters = random.Random(7), [chr(0x4E00 + n) for n in range(400)]
    texts = []
    for _ in range(8):
        text = chance.choices(letters, k=300)
        texts.append("".join(text))
        for changes in (2, 6, 12, 40):
            for at in chance.sample(range(300), changes):
                text[at] = chance.choice(letters)
            texts.append("".join(text))
    made = documents.put_many(base, *texts)
    runs = [likeness.shingles(text) for text in texts]
    wanted = {
        (made[a].pk, made[b].pk)
        for a in range(len(texts))
        for b in range(a + 1, len(texts))
        if likeness.similarity(runs[a], runs[b]) >= likeness.ALIKE
    }
    assert wanted
    assert pairs(base).keys() == wanted


def test_short_and_common_passages_tell_nothing(base):
    documents.put_many(base, "见附件。", "见附件。", *[FOOTER] * (duplicates.COMMON + 1))
    assert pairs(base) == {}


def test_other_bases_and_what_does_not_answer_are_left_out(base):
    documents.put_many(base, STEPS, OTHER)
    documents.put_many(documents.base("other"), STEPS)
    retired, _kept = documents.put_many(base, OTHER, OTHER + "附录")
    Document.objects.filter(pk=retired.pk).update(retired_at=timezone.now())
    assert len(pairs(base)) == 1


def test_what_was_dismissed_stays_so_and_what_was_mended_goes(base):
    first, second, third = documents.put_many(base, STEPS, STEPS, STEPS)
    duplicates.dismiss(pairs(base)[first.pk, second.pk], None)
    found = pairs(base)
    assert found[first.pk, second.pk].dismissed_at
    Chunk.objects.filter(document=third).update(enabled=False)
    assert pairs(base).keys() == {(first.pk, second.pk)}


def test_what_differs_is_marked_and_escaped():
    one, other = compared("等待 5 分钟 <b>", "等待 10 分钟 <b>")
    assert one == "等待 <mark>5</mark> 分钟 &lt;b&gt;"
    assert other == "等待 <mark>10</mark> 分钟 &lt;b&gt;"


# --- the pages ------------------------------------------------------------------------


@pytest.fixture
def pair(base):
    documents.put_many(base, STEPS, STEPS)
    return next(iter(pairs(base).values()))


def decide(client, row, decision):
    url = reverse("admin:knowledge_similarity_decide", args=[row.pk])
    return client.post(url, {"decision": decision, "next": LIST}, follow=True)


def shown(client, **given):
    return [pair["row"].pk for pair in client.get(LIST, given).context["rows"]]


def test_a_pair_is_decided_and_the_decision_undone(admin_client, base, pair):
    assert shown(admin_client) == [pair.pk]
    decide(admin_client, pair, "dismiss")
    assert (shown(admin_client), shown(admin_client, state="dismissed")) == ([], [pair.pk])
    decide(admin_client, pair, "undismiss")
    decide(admin_client, pair, "retire_second")
    assert shown(admin_client) == []
    pair.second.refresh_from_db()
    assert pair.second.retired_reason
    admin_client.post(OUTDATED, {"change": "restore", "document": [pair.second_id]})
    assert shown(admin_client) == [pair.pk]
    decide(admin_client, pair, "disable_first")
    assert not Chunk.objects.get(document=pair.first).enabled
    assert shown(admin_client) == []


def test_all_that_is_similar_is_disabled_at_once(admin_client, base):
    parts = {f"第{n}章": f"{STEPS}这是第{n}节。" for n in range(7)}
    first, second = (put(sections(**parts), base=base) for _ in range(2))
    (row,) = pairs(base).values()
    decide(admin_client, row, "disable_second")
    assert not second.chunks.filter(enabled=True).exists()
    assert first.chunks.filter(enabled=True).count() == 7


def test_looking_now_is_queued(admin_client, base, pair):
    page = admin_client.get(LIST, {"base": base.pk})
    assert page.context["may_look"]
    url = reverse("admin:knowledge_similarity_look")
    answer = admin_client.post(url, {"base": base.pk, "next": "https://evil.example/"})
    assert answer["Location"] == LIST
    assert admin_client.post(url, {"base": "x"}).status_code == 404


def test_documents_out_of_date_are_listed_and_changed(admin_client, base):
    today = scope.today()
    made = documents.put_many(base, *(f"文档 {n}" for n in range(6)))
    expired, soon, retired, old, lower, higher = made
    day = datetime.timedelta(days=1)
    Document.objects.filter(pk=expired.pk).update(expires_on=today)
    Document.objects.filter(pk=soon.pk).update(expires_on=today + 29 * day)
    Document.objects.filter(pk=retired.pk).update(retired_at=timezone.now())
    Document.objects.filter(pk=old.pk).update(updated_at=timezone.now() - 200 * day)
    for one, version in ((lower, "v2.9"), (higher, "2.10")):
        Document.objects.filter(pk=one.pk).update(title="安装手册", version=version)
    expected = {
        "expired": expired, "soon": soon, "retired": retired, "old": old, "superseded": lower,
    }  # fmt: skip
    for kind, document in expected.items():
        assert list(admin_client.get(OUTDATED, {"kind": kind}).context["page"]) == [document]
    assert not admin_client.get(OUTDATED, {"kind": "old", "days": "365"}).context["page"]
    admin_client.post(OUTDATED, {"change": "touch", "document": [old.pk]})
    later = (today + 400 * day).isoformat()
    change = {"change": "extend", "document": [expired.pk, soon.pk], "expires_on": later}
    admin_client.post(OUTDATED, change)
    admin_client.post(OUTDATED, {"change": "retire", "document": [lower.pk]})
    for kind in ("expired", "soon", "old", "superseded"):
        assert not admin_client.get(OUTDATED, {"kind": kind}).context["page"]
    page = admin_client.post(OUTDATED, {**change, "expires_on": "x"}, follow=True)
    assert [message.level_tag for message in page.context["messages"]] == ["error"]


def test_roles_decide_what_is_seen_and_changed(client, base, pair):
    group = Group.objects.create(name="viewers")
    Role.objects.create(knowledge_base=base, group=group, kind=Role.Kind.VIEWER)
    user = User.objects.create_user("lin", is_staff=True)
    user.groups.add(group)
    client.force_login(user)
    hidden = documents.base("hidden")
    documents.put_many(hidden, OTHER, OTHER)
    duplicates.find(hidden.pk)
    assert shown(client) == [pair.pk]
    assert decide(client, pair, "dismiss").status_code == 403
    assert (
        client.post(OUTDATED, {"change": "retire", "document": [pair.first_id]}).status_code == 403
    )
    look = reverse("admin:knowledge_similarity_look")
    assert client.post(look, {"base": base.pk}).status_code == 403
    assert KnowledgeBase.objects.count() == 2
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(LIST).status_code == 403
    assert client.get(OUTDATED).status_code == 403

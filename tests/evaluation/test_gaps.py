"""What to fix next: what went wrong is gathered into topics that go on, rise and come back."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from chat.models import Turn
from evaluation import alerts, clustering, gaps, tallying
from evaluation.models import Alert, Gap, GapQuestion, Goal, Verdict
from knowledge.models import Entry
from tests.evaluation.asked import ask, unanswered
from tests.knowledge import documents

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
VPN = ["VPN 连不上怎么办", "VPN 连接不上了", "连不上 VPN", "公司 VPN 连不上"]
LEAVE = ["年假怎么申请", "申请年假要多久", "年假的申请流程"]


@pytest.fixture
def base():
    return documents.base()


def open_gaps():
    return list(Gap.objects.filter(state="open"))


def test_what_went_wrong_is_gathered_by_what_it_is_about(base):
    for n, text in enumerate([*VPN, *LEAVE]):
        unanswered(base, text, after=n * DAY)
    ask(base, "打印机卡纸怎么处理", after=DAY)  # answered, and nobody complained
    ask(base, "谢谢", outcome="chat", after=DAY)
    assert gaps.find_all() == 2
    vpn, leave = open_gaps()
    assert (vpn.count, leave.count) == (4, 3)
    assert "vpn" in vpn.words
    assert "申请" in leave.words
    assert vpn.question in [text.casefold() for text in VPN] + VPN
    assert {one.text for one in leave.questions.all()} == set(LEAVE)
    assert vpn.last_at - vpn.first_at == pytest.approx(3 * DAY, abs=timedelta(seconds=1))


def test_every_way_to_go_wrong_is_known(base):
    unanswered(base, "甲系统没有权限")
    offer = {"pending": {"offer": "unsure"}, "facts": {"unsure": True}}
    ask(base, "乙模块打不开网页", outcome="clarifying", policy=offer)
    ask(base, "丙报表导出失败", helpful=False)
    wrong = ask(base, "丁接口返回空值")
    missed = unanswered(base, "戊证书什么时候过期")
    refused = unanswered(base, "今天股票涨了吗")
    for turn, kind in ((wrong, "partly"), (missed, "missed"), (refused, "refused")):
        Verdict.objects.create(turn=turn, kind=kind)
    first = ask(base, "它坏了", outcome="clarifying")
    again = ask(base, "还是坏的", outcome="clarifying", conversation=first.conversation, query=None)
    Turn.objects.filter(pk=again.pk).update(pending={"question": "它坏了"})
    told = ask(base, "要开通", outcome="clarifying", topic="开户")
    ask(base, "张三", outcome="clarifying", topic="开户", conversation=told.conversation)
    gaps.find_all()
    assert dict(GapQuestion.objects.values_list("text", "kind")) == {
        "甲系统没有权限": "unanswered", "乙模块打不开网页": "unanswered", "丙报表导出失败": "bad",
        "丁接口返回空值": "wrong", "戊证书什么时候过期": "missed", "它坏了": "asked_back",
    }  # fmt: skip


def test_a_topic_goes_on_and_is_solved_until_it_comes_back(base):
    for n, text in enumerate(VPN):
        unanswered(base, text, after=(n + 1) * DAY)
    gaps.find_all()
    (gap,) = open_gaps()
    gaps.decide(gap, "solved", None)
    gaps.find_all()
    assert open_gaps() == []
    unanswered(base, "VPN 连不上")
    gaps.find_all()
    assert open_gaps() == []  # one may be chance
    unanswered(base, "VPN 又连不上了")
    gaps.find_all()
    (again,) = open_gaps()
    assert again.pk == gap.pk
    assert again.count == 6
    assert again.back_at


def test_a_topic_is_known_again_by_its_question_when_its_turns_are_old(base):
    for text in VPN:
        unanswered(base, text, after=29 * DAY)
    gaps.find_all()
    gap = Gap.objects.get()
    gaps.decide(gap, "dismissed", None)
    Turn.objects.update(created_at=timezone.now() - 200 * DAY)
    unanswered(base, "VPN 连不上怎么办呢")
    gaps.find_all()
    assert Gap.objects.get().pk == gap.pk
    assert Gap.objects.get().state == "dismissed"  # it was asked four times when it was dismissed


def test_what_nobody_asks_any_more_is_gone_unless_it_was_decided(base):
    for text in VPN:
        unanswered(base, text)
    gaps.find_all()
    Turn.objects.update(created_at=timezone.now() - 200 * DAY)
    gaps.find_all()
    assert not Gap.objects.exists()


def test_finding_twice_changes_nothing(base):
    for text in [*VPN, *LEAVE]:
        unanswered(base, text, after=DAY)
    gaps.find_all()
    before = sorted(Gap.objects.values_list("pk", "question", "count"))
    gaps.find_all()
    assert sorted(Gap.objects.values_list("pk", "question", "count")) == before
    assert gaps.progress() is None


def usual_traffic(base):
    for n in range(25):
        for _each in range(2):
            ask(base, f"第 {n} 天的问题", after=n * DAY)


def test_what_is_suddenly_asked_rises_and_is_told_once(base, settings):
    settings.ADMINS = [("", "ops@example.com")]
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "sync": True}
    usual_traffic(base)
    for n in range(24):
        unanswered(base, LEAVE[n % 3], after=n * DAY)  # all the time
    for n in range(6):
        unanswered(base, VPN[n % 4], after=n * DAY / 2)  # since this week
    tallying.catch_up()
    gaps.find_all()
    rising = Gap.objects.get(rising=True)
    assert "vpn" in rising.words
    assert rising.recent == 6
    assert rising.expected == 0
    gaps.find_all()
    alert = Alert.objects.get()
    assert (alert.name, alert.ended_at) == (f"gap:{rising.pk}", None)
    alerts.tell(alert.pk)
    assert "vpn" in mail.outbox[0].body.lower()
    gaps.decide(rising, "solved", None)
    alert.refresh_from_db()
    assert alert.ended_at  # at once


def test_a_draft_is_begun_with_the_questions(base):
    for text in VPN:
        unanswered(base, text)
    gaps.find_all()
    gap = Gap.objects.get()
    entry = gaps.draft(gap, base, None)
    gap.refresh_from_db()
    assert (entry.state, entry.answer, entry.question) == (Entry.State.DRAFT, "", gap.question)
    assert len(entry.variants) == 3
    assert gaps.draft(gap, base, None) == entry


def test_a_figure_below_its_goal_is_told_once_and_cleared(base):
    Goal.objects.create(figure="answered", value=80)
    Goal.objects.create(figure="whole", value=60)
    for n in range(30):
        ask(base, outcome="answered" if n % 2 else "failed", after=n * DAY / 10)
    tallying.catch_up()
    alerts.check()
    alerts.check()
    alert = Alert.objects.get()
    assert (alert.name, alert.ended_at) == ("answered", None)
    assert "50" in alert.text
    Goal.objects.filter(figure="answered").update(value=40)
    alerts.check()
    alert.refresh_from_db()
    assert alert.better_at
    assert alert.ended_at is None  # it may be below again soon
    Goal.objects.filter(figure="answered").update(value=80)
    alerts.check()
    alert.refresh_from_db()
    assert alert.better_at is None
    Goal.objects.filter(figure="answered").update(value=40)
    alerts.check()
    Alert.objects.update(better_at=timezone.now() - alerts.CALM)
    alerts.check()
    alert.refresh_from_db()
    assert alert.ended_at
    assert Alert.objects.count() == 1
    Goal.objects.filter(figure="whole").update(value=1)
    alerts.check()
    Goal.objects.all().delete()
    alerts.check()
    assert not Alert.objects.filter(ended_at=None).exists()


def test_the_same_questions_come_to_the_same_topics_in_any_order():
    texts = [*VPN, *LEAVE, "打印机卡纸", ""]
    topics = clustering.gathered(texts)
    turned = clustering.gathered(texts[::-1])[::-1]
    same = [[one == other for other in topics] for one in topics]
    assert same == [[one == other for other in turned] for one in turned]
    assert clustering.gathered(["？"]) == [0]
    assert len(set(clustering.gathered(["？", "！"]))) == 2

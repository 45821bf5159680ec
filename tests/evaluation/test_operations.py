"""Operating figures: days are counted, counted anew when something came later, and read."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from chat.models import Rating, ToolCall
from evaluation import operations, paces, tallying
from evaluation.models import Day, DocumentTally, Price, Spending, Tally, Verdict
from evaluation.operations import Period
from handoff.models import Handoff
from tests.evaluation.asked import PROMPT, ask, unanswered
from tests.knowledge import documents

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def base():
    return documents.base()


def week():
    today = timezone.localdate()
    return Period(today - 6 * DAY, today)


def test_turns_become_figures(base):
    document = documents.put(base, "重启用 systemctl restart。", "重启")
    ask(base, cited=[document], helpful=True, first_ms=400, prompts=[PROMPT], after=DAY,
        passages=[{"chunk_id": document.chunks.first().pk}])  # fmt: skip
    ask(base, cited=[document], helpful=False, kept={"turn": 1}, after=DAY)
    ask(base, outcome="clarifying", degraded=["words_only"], channel="api", topic="VPN", after=DAY)
    ask(base, outcome="chat", after=DAY)
    refused = unanswered(base, "报销怎么走", after=DAY)
    Handoff.objects.create(conversation=refused.conversation, reason="no_answer", last_seq=2)
    assert tallying.catch_up() == 1
    made = operations.overview(week())
    assert (made.turns, made.asked, made.answered, made.clarified, made.handed) == (5, 4, 2, 1, 1)
    assert made.answered_share == 0.5
    assert made.kept_share == 0.5
    assert made.solved == 2 / 4  # small talk is no conversation, asking back alone solves nothing
    assert made.bad_share == 0.5
    assert made.took("first", 0.1) == pytest.approx(400, rel=0.13)
    assert made.took("whole") == pytest.approx(2000, rel=0.13)
    assert made.took("recall") == pytest.approx(40, rel=0.13)
    assert operations.degraded(week()) == {"words_only": 1}
    assert operations.rate(week(), made.turns).peak == 5
    assert dict(operations.by(week(), "channel"))["api"].clarified == 1
    assert dict(operations.by(week(), "topic"))["VPN"].turns == 1
    assert dict(operations.by(week(), "model"))["qwen"].answered == 1
    assert operations.choices(week(), "prompt") == ["a1a1a1a1a1a1"]
    row = operations.documents(week()).get()
    assert (row["n_found"], row["n_cited"], row["n_rated"], row["n_bad"]) == (1, 2, 2, 1)
    assert operations.used(week()) == operations.Used(1, 1, 1)


def test_what_is_looked_at_can_be_narrowed(base):
    other = documents.base("其他")
    ask(base, after=DAY)
    ask(other, after=DAY, sureness={"base": other.pk})
    tallying.catch_up()
    day = timezone.localdate() - DAY
    assert operations.overview(Period(day, day, {"base": other.pk})).turns == 1
    assert operations.overview(Period(day, day, {}, (base.pk,))).turns == 1
    assert operations.overview(Period(day, day, {"channel": "api"})).turns == 0
    assert operations.overview(Period(day, day).before()).turns == 0


def test_what_comes_later_is_counted_too(base):
    turn = ask(base, after=5 * DAY)
    tallying.catch_up()
    assert operations.overview(week()).rated == 0
    before = Day.objects.get().counted_at
    Rating.objects.create(message=turn.reply, helpful=False)
    Verdict.objects.create(turn=turn, kind="wrong")
    tallying.catch_up()
    made = operations.overview(week())
    assert (made.turns, made.bad, made.judged, made.right) == (1, 1, 1, 0)
    assert Day.objects.get().counted_at > before
    Handoff.objects.create(conversation=turn.conversation, reason="asked", last_seq=2)
    assert operations.overview(week()).alone == 1
    tallying.catch_up()
    assert operations.overview(week()).alone == 0


def test_counting_twice_changes_nothing(base):
    ask(base, prompts=[PROMPT], after=2 * DAY)
    for _again in range(2):
        tallying.count(timezone.localdate() - 2 * DAY)
    assert Tally.objects.get().turns == Spending.objects.get().requests == 1
    assert tallying.differing() == set()


def test_what_is_deleted_is_found_at_night(base):
    kept, gone = ask(base, after=3 * DAY), ask(base, after=4 * DAY)
    tallying.recount()
    gone.conversation.delete()
    assert tallying.recount() == 1
    assert operations.overview(week()).turns == 1
    assert [day.day for day in Day.objects.all()] == [timezone.localdate(kept.created_at)]


def test_days_that_time_did_not_suffice_for_are_counted_by_another_task(base, monkeypatch):
    later = []
    monkeypatch.setattr(tallying, "async_task", lambda name, **more: later.append(name))
    monkeypatch.setattr(tallying, "SECONDS", 0.0)
    for n in (1, 2, 3):
        ask(base, after=n * DAY)
    done = tallying.recount()
    assert later == ["evaluation.tallying.count_left"]
    assert Day.objects.filter(counted_at=None).count() == 3 - done
    monkeypatch.setattr(tallying, "SECONDS", 60.0)
    tallying.count_left()
    assert operations.overview(week()).turns == 3


def test_no_day_is_lost_with_a_worker_that_is_killed(base, monkeypatch):
    turn = ask(base, after=5 * DAY)
    ask(base)
    tallying.catch_up()
    Day.objects.update(looked_at=timezone.now() - DAY / 2)  # since when nobody looked
    Verdict.objects.create(turn=turn, kind="wrong")
    count = tallying.count

    def killed(day):
        if day < timezone.localdate():
            raise SystemExit
        count(day)

    monkeypatch.setattr(tallying, "count", killed)
    with pytest.raises(SystemExit):
        tallying.catch_up()
    monkeypatch.setattr(tallying, "count", count)
    Verdict.objects.update(at=timezone.now() - DAY)  # long before the look that was cut off
    tallying.catch_up()
    assert operations.overview(week()).judged == 1


def test_tokens_cost_what_their_model_costs(base):
    ask(base, prompts=[PROMPT, {**PROMPT, "prompt": "judge.system"}], after=DAY)
    ask(base, prompts=[{**PROMPT, "model": "other", "tokens_in": None, "tokens_out": None}])
    Price.objects.create(model="qwen", per_million_in=2, per_million_out=Decimal("10"))
    tallying.catch_up()
    costs = operations.costs(week())
    assert {(one.model, one.step): one.amount for one in costs} == {
        ("qwen", "answer"): Decimal("0.004"),
        ("qwen", "judge"): Decimal("0.004"),
        ("other", "answer"): None,
    }
    assert operations.amounts(costs) == {"CNY": Decimal("0.008")}
    assert [one.told for one in costs if one.model == "other"] == [0]
    assert operations.daily_costs(week()) == {
        "CNY": {timezone.localdate() - DAY: pytest.approx(0.008)}
    }


def test_calls_of_tools_that_were_made_are_counted(base):
    status = ToolCall.Status
    for state in (status.DONE, status.DONE, status.FAILED, status.REFUSED, status.ASKED):
        ToolCall.objects.create(tool="orders", status=state, digest="x", seconds=2.0)
    ToolCall.objects.create(tool="orders", status=status.FAILED, digest="x", trial=True)
    (orders,) = operations.tools(week())
    assert (orders.calls, orders.done, orders.seconds) == (3, 2, 2.0)


def test_documents_that_are_gone_are_no_longer_told_of(base):
    document = documents.put(base, "重启用 systemctl restart。", "重启")
    ask(base, cited=[document], after=DAY)
    tallying.catch_up()
    document.delete()
    assert not DocumentTally.objects.exists()
    tallying.count(timezone.localdate() - DAY)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_quantile_is_right_within_a_tenth(share):
    times = [10 * 1.01**n for n in range(700)]
    told = paces.quantile(paces.counts(times), share)
    assert told == pytest.approx(times[int(share * 700)], rel=0.1)
    assert paces.quantile(None, share) is None

"""Two configurations on real traffic: who gets which, what came of it, when it stops."""

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from chat import configurations
from chat.models import Configuration, Conversation, Message, Rating, Turn
from evaluation import experiments
from evaluation.models import Experiment
from opsdesk.gates import Refusal

pytestmark = pytest.mark.django_db


@pytest.fixture
def experiment():
    candidate = Configuration.objects.create(name="新提示词", overrides={"PASSAGES": 3})
    return Experiment.objects.create(name="三段够吗", candidate=candidate, salt="s")


@pytest.fixture
def running(experiment):
    experiments.start(experiment, None)
    Experiment.objects.update(started_at=timezone.now() - timedelta(hours=1))
    experiment.refresh_from_db()
    return experiment


def visitor(number):
    return Conversation(pk=uuid.UUID(int=number), visitor=f"{number:032x}")


def turns(experiment, arm, outcomes, disliked=0, **told):
    ended = [outcome for outcome, count in outcomes.items() for _n in range(count)]
    conversation = Conversation.objects.create()
    said = Message.objects.bulk_create(
        Message(conversation=conversation, seq=seq, role=role, text="怎么办")
        for seq, role in enumerate(["customer", "assistant"] * len(ended), 1)
    )
    trace = {"configuration": {"experiment": experiment.pk, "arm": arm, **told}}
    made = Turn.objects.bulk_create(
        Turn(
            conversation=conversation, message=said[2 * n], reply=said[2 * n + 1], epoch=0,
            status="done", outcome=outcome, trace=trace,
        )
        for n, outcome in enumerate(ended)
    )  # fmt: skip
    answered = [turn.reply for turn in made if turn.outcome == "answered"]
    Rating.objects.bulk_create(
        Rating(message=reply, helpful=n >= disliked) for n, reply in enumerate(answered)
    )


def test_it_starts_at_five_per_cent_and_visitors_keep_what_they_get(running):
    assert running.share == 0.05
    places = [experiments.place(running.salt, visitor(n)) for n in range(2000)]
    assert 0.035 < sum(place < 0.05 for place in places) / 2000 < 0.065
    got = {n: configurations.of(visitor(n)) for n in range(12)}
    experiments.share(running, 0.5)
    for n, (overrides, told) in got.items():
        again, tells = configurations.of(visitor(n))
        assert tells["arm"] == ("b" if places[n] < 0.5 else "a")
        assert again == ({"PASSAGES": 3} if places[n] < 0.5 else {})
        assert told["arm"] == "a" or again == overrides  # raising it takes it from nobody


def test_a_person_gets_the_same_wherever_they_ask():
    user = User.objects.create_user("lin")
    for one, other in (
        (Conversation(user=user), Conversation(user=user, visitor="x")),
        (Conversation(identity="7", site_id=1), Conversation(identity="7", site_id=1)),
    ):
        assert experiments.place("s", one) == experiments.place("s", other)
    assert experiments.place("s", visitor(1)) != experiments.place("t", visitor(1))


def test_one_runs_at_a_time_and_not_with_what_everybody_has(running):
    other = Configuration.objects.create(name="另一个")
    second = Experiment.objects.create(name="第二个", candidate=other)
    with pytest.raises(ValidationError):
        experiments.start(second, None)
    with pytest.raises(IntegrityError), transaction.atomic():
        Experiment.objects.update(state="running")
    experiments.stop(running, "够了")
    assert configurations.of(visitor(1)) == ({}, {})
    assert not Configuration.objects.filter(on_trial=True).exists()
    with pytest.raises(ValidationError):
        experiments.start(running, None)
    configurations.activate(other, None)
    with pytest.raises(ValidationError):
        experiments.start(second, None)


def refusing(change):
    return Refusal("有 2 题答错了。")


def test_the_gate_is_asked_before_any_visitor_gets_it(experiment, settings):
    settings.GATES = [f"{__name__}.refusing"]
    with pytest.raises(ValidationError) as refused:
        experiments.start(experiment, None)
    assert refused.value.messages == ["有 2 题答错了。"]
    assert not Configuration.objects.filter(on_trial=True).exists()


def test_what_came_of_both_sides_is_counted(running):
    turns(running, "b", {"answered": 6, "handoff": 4, "chat": 3}, disliked=2)
    turns(running, "a", {"answered": 18, "handoff": 2})
    turns(Experiment(pk=running.pk + 1), "b", {"handoff": 5})
    figures = experiments.measure(running)
    handoff = figures["handoff"]
    assert (handoff["n"], handoff["share"], handoff["others"], handoff["other_share"]) == (
        10, 0.4, 20, 0.1,
    )  # fmt: skip
    assert handoff["difference"] == pytest.approx(0.3)
    assert handoff["low"] < 0.3 < handoff["high"]
    assert figures["disliked"]["share"] == pytest.approx(2 / 6)
    assert figures["answered"]["other_share"] == 0.9


def test_newcombes_interval():
    """Method 10 of Newcombe 1998, table II: 56/70 and 48/80."""
    found = experiments.apart(56, 70, 48, 80)
    assert (round(found.low, 4), round(found.high, 4)) == (0.0524, 0.3339)
    nothing = experiments.apart(0, 0, 3, 9)
    assert (nothing.low, nothing.high) == (-1.0, 1.0)
    zero = experiments.apart(0, 10, 0, 10)
    assert zero.low < 0 < zero.high


def test_it_stops_by_itself_when_it_is_clearly_worse(running):
    turns(running, "a", {"answered": 90, "handoff": 10})
    turns(running, "b", {"answered": 10, "handoff": 15})
    assert experiments.guard() == 0  # too few to say
    turns(running, "b", {"handoff": 10})
    assert experiments.guard() == 1
    running.refresh_from_db()
    assert running.state == "stopped"
    assert "10 %" in running.because
    assert not Configuration.objects.filter(on_trial=True).exists()


def test_it_goes_on_when_it_is_not_clearly_worse_or_nobody_wants_that(running):
    turns(running, "a", {"answered": 35, "handoff": 15})
    turns(running, "b", {"answered": 20, "handoff": 12})
    assert experiments.guard() == 0
    turns(running, "b", {"handoff": 40})
    Experiment.objects.update(guarded=False)
    assert experiments.guard() == 0


def test_it_stops_when_all_others_get_another_configuration(running):
    turns(running, "a", {"answered": 2})
    turns(running, "a", {"answered": 3}, digest="123456789abc")
    assert experiments.guard() == 0
    assert experiments.measure(running)["answered"]["others"] == 2
    configurations.activate(running.candidate, None)
    assert configurations.of(visitor(1))[1].get("experiment") is None
    assert experiments.guard() == 1
    running.refresh_from_db()
    assert (running.state, bool(running.because)) == ("stopped", True)


def test_a_candidate_that_was_tried_is_changed_no_more(running):
    experiments.stop(running, "够了")
    candidate = Configuration.objects.get()
    assert (candidate.state, candidate.editable) == ("draft", False)


def test_it_is_made_started_raised_and_stopped_on_pages(admin_client, client):
    candidate = Configuration.objects.create(name="新提示词", overrides={"PASSAGES": 3})
    given = {"name": "三段够吗", "candidate": candidate.pk, "percent": "5", "guarded": "on"}
    admin_client.post(reverse("admin:evaluation_experiment_add"), given)
    one = Experiment.objects.get()
    assert one.share == 0.05

    def post(name, **data):
        url = reverse(f"admin:evaluation_experiment_{name}", args=[one.pk])
        return admin_client.post(url, data, follow=True)

    assert "5%" in post("start").content.decode()
    for percent in ("90", "x", ""):
        post("share", percent=percent)
        one.refresh_from_db()
        assert one.share == 0.05
    post("share", percent="20")
    turns(one, "b", {"answered": 3})
    page = admin_client.get(reverse("admin:evaluation_experiment_change", args=[one.pk]))
    assert "n = 3" in page.content.decode()
    post("stop")
    one.refresh_from_db()
    assert (one.share, one.state) == (0.2, "stopped")
    client.force_login(User.objects.create_user("viewer", is_staff=True))
    url = reverse("admin:evaluation_experiment_stop", args=[one.pk])
    assert client.post(url).status_code == 403

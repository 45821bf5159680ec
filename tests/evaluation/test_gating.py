"""What golden questions keep from being published, and what they say afterwards."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.urls import reverse
from django.utils import timezone

from chat import asking, configurations, runner
from chat.models import Configuration, Conversation, Turn
from evaluation import alerts, experiments, gating, golden, running
from evaluation.models import Alert, Experiment, GoldenQuestion, Run
from knowledge import calibrating, calibration, confidence, publishing, tasks, uploading
from knowledge.models import Calibration, Document, KnowledgeBase, Revision, Status
from knowledge.parsing.document import Block
from tests.chat.conftest import put
from tests.evaluation.golden_set import BACKUP, ask_about, finished, small_base

pytestmark = pytest.mark.django_db


@pytest.fixture
def base(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    return small_base()


@pytest.fixture(autouse=True)
def nothing_seen():
    cache.clear()


def configuration(**overrides):
    return Configuration.objects.create(
        name="试验", version=Configuration.objects.count() + 1, overrides=overrides
    )


def run_all():
    """What the short cluster does."""
    while waiting := Run.objects.unfinished().order_by("pk").first():
        finished(waiting)


def state(row):
    row.refresh_from_db()
    return row.state


def test_a_configuration_is_used_when_its_run_has_passed(base, admin_user):
    ask_about(base)
    row = configuration(PASSAGES=4)
    refusal = configurations.activate(row, admin_user)
    assert (refusal.waiting, state(row)) == (True, "checking")
    assert configurations.activate(row, admin_user).waiting  # asked again, not run again
    assert Run.objects.count() == 2  # as it is now, and as it would be
    run_all()
    assert state(row) == "active"
    assert (row.used_by, Run.objects.first().verdict) == (admin_user, "passed")


def test_one_that_answers_worse_is_refused_with_what_is_lost(base, admin_user):
    question = ask_about(base)[0]
    GoldenQuestion.objects.filter(pk=question.pk).update(must=True)
    row = configuration(CONFIDENCE=1.0)
    configurations.activate(row, admin_user)
    run_all()
    assert state(row) == "draft"
    refusal = configurations.activate(row, admin_user)
    assert not refusal.waiting
    assert BACKUP in refusal.reason
    assert configurations.activate(row, admin_user, overrule="必须") is None


def test_where_the_gate_only_warns_it_is_used_all_the_same(base, settings, admin_user):
    settings.GATE = "warn"
    ask_about(base)
    row = configuration(CONFIDENCE=1.0)
    configurations.activate(row, admin_user)
    run_all()
    assert state(row) == "active"
    assert Run.objects.first().verdict == "refused"


def test_without_questions_or_gate_nothing_waits(base, settings):
    assert configurations.activate(configuration(PASSAGES=3), None) is None
    ask_about(base)
    settings.GATE = "off"
    assert configurations.activate(configuration(PASSAGES=2), None) is None


def test_yesterdays_questions_count_without_golden_ones(base):
    _message, _turn = asking.ask(Conversation.objects.create(visitor="w" * 32), BACKUP)
    runner.run_waiting()
    row = configuration(CONFIDENCE=1.0)
    assert configurations.activate(row, None).waiting
    run_all()
    assert state(row) == "draft"
    assert "1" in Run.objects.first().reasons[0]


def test_taken_back_while_it_is_replayed_it_is_not_used(admin_client, base):
    ask_about(base)
    row = configuration(PASSAGES=4)
    use = reverse("admin:chat_configuration_use", args=[row.pk])
    assert "回放" in admin_client.post(use, follow=True).content.decode() or state(row)
    assert state(row) == "checking"
    admin_client.post(reverse("admin:chat_configuration_recall", args=[row.pk]))
    assert not Run.objects.unfinished().exclude(subject="").exists()
    run_all()
    assert state(row) == "draft"


def test_a_run_lets_nothing_pass_but_what_it_asked_with(base, admin_user):
    question = ask_about(base)[0]
    GoldenQuestion.objects.filter(pk=question.pk).update(must=True)
    row = configuration(PASSAGES=4)
    configurations.activate(row, admin_user)
    configurations.withdraw(row.pk)
    row.refresh_from_db()
    row.overrides = {"CONFIDENCE": 1.0}
    row.save()
    configurations.activate(row, admin_user)
    baseline, earlier, _later = Run.objects.order_by("pk")
    finished(baseline)
    assert finished(earlier).verdict == "passed"
    assert state(row) == "checking"
    run_all()
    assert state(row) == "draft"


def test_an_experiment_starts_while_customers_go_on_asking(base):
    ask_about(base)
    experiment = Experiment.objects.create(name="四段", candidate=configuration(PASSAGES=4))
    ask_today(1)
    with pytest.raises(ValidationError):
        experiments.start(experiment, None)
    run_all()
    ask_today(2)
    experiments.start(experiment, None)
    assert (experiment.state, Run.objects.count()) == ("running", 2)


def ask_today(number):
    conversation = Conversation.objects.create(visitor=f"{number:032x}")
    asking.ask(conversation, f"{BACKUP}第{number}台")
    runner.run_waiting()


def test_what_a_run_said_holds_for_a_day_and_is_compared_on_the_same_questions(base):
    ask_about(base)
    first, second = configuration(PASSAGES=4), configuration(PASSAGES=3)
    configurations.activate(first, None)
    ask_today(1)
    configurations.activate(second, None)
    run = Run.objects.first()
    keys = set(run.results.values_list("key", flat=True))
    assert set(run.baseline.results.values_list("key", flat=True)) == keys
    assert len(keys) == 4
    Run.objects.update(created_at=timezone.now() - timedelta(days=2))
    configurations.activate(first, None)
    assert Run.objects.count() == 6


def calibrated(base, threshold):
    shipped = confidence.SHIPPED
    return Calibration.objects.create(
        knowledge_base=base, target=0.9, threshold=threshold, intercept=shipped.intercept,
        coefficients=dict(shipped.coefficients), base_rate=0.5, labels=30, precision=0.9,
        precision_low=0.8, precision_high=1.0, coverage=0.5,
    )  # fmt: skip


def test_a_threshold_that_was_never_in_use_is_not_used_again(base, admin_client, admin_user):
    ask_about(base)
    used, refused, waiting = (calibrated(base, threshold) for threshold in (0.3, 1.0, 0.4))
    calibrating.use(base, used)
    calibrating.propose(base, refused, admin_user)
    run_all()
    calibrating.propose(base, waiting, admin_user)
    page = admin_client.get(reverse("admin:knowledge_knowledgebase_sureness", args=[base.pk]))
    assert 'name="use" value="0"' in page.content.decode()
    url = reverse("admin:knowledge_knowledgebase_calibrate", args=[base.pk])
    for one in (refused, waiting):
        assert f'name="use" value="{one.pk}"' not in page.content.decode()
        admin_client.post(url, {"use": one.pk})
        assert calibration.in_use(base) == used
    admin_client.post(url, {"use": "0"})
    run_all()
    assert calibration.in_use(base) is None  # nor what waited
    admin_client.post(url, {"use": used.pk})
    assert calibration.in_use(base) == used


@pytest.mark.parametrize(("threshold", "used"), [(0.3, True), (1.0, False)])
def test_a_threshold_waits_for_its_run(base, threshold, used, admin_user):
    ask_about(base)
    made = calibrated(base, threshold)
    assert calibrating.propose(base, made, admin_user).waiting
    assert calibration.in_use(base) is None
    run_all()
    made.refresh_from_db()
    assert (made.active, made.waiting) == (used, False)
    assert (calibration.in_use(base) == made) == used


def test_a_run_that_is_cancelled_lets_nothing_pass(base, admin_user):
    ask_about(base)
    row = configuration(PASSAGES=4)
    configurations.activate(row, admin_user)
    baseline, made = Run.objects.order_by("pk")
    running.go_on(made.pk)  # waits for what it is compared with
    made.refresh_from_db()
    assert (made.state, made.done) == ("queued", 0)
    assert running.cancel(baseline)
    assert state(made) == "cancelled"
    assert state(row) == "draft"


def test_a_worker_killed_while_it_closes_a_run_leaves_it_to_be_closed(base, monkeypatch):
    ask_about(base)
    row = configuration(PASSAGES=4)
    configurations.activate(row, None)
    baseline, made = Run.objects.order_by("pk")
    finished(baseline)
    running.work(made, float("inf"))
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(gating, "judge", interrupted)
        running.finish(made)
    assert state(made) == "running"
    assert running.sweep() == 0  # somebody may be at it
    Run.objects.update(worked_at=timezone.now() - running.IDLE)
    assert running.sweep() == 1
    assert running.sweep() == 0  # it is in line
    running.go_on(made.pk)
    assert (state(made), state(row)) == ("done", "active")


def interrupted(*args):
    raise KeyboardInterrupt


def test_a_run_that_waits_for_what_it_is_compared_with_is_not_taken_up(base):
    ask_about(base)
    configurations.activate(configuration(PASSAGES=4), None)
    Run.objects.update(worked_at=timezone.now() - running.IDLE)
    assert running.sweep() == 1


def test_old_runs_go_but_the_last_of_each_subject(base):
    ask_about(base)
    plan = running.plan({})
    first, last = (running.prepare(plan, subject="base:1") for _n in range(2))
    manual = running.prepare(plan)
    Run.objects.update(created_at=timezone.now() - timedelta(days=running.DAYS + 1))
    assert running.clean() == 2
    assert list(Run.objects.all()) == [last]
    assert {first.pk, manual.pk}.isdisjoint(Run.objects.values_list("pk", flat=True))


# --- documents --------------------------------------------------------------------------


def revision_of(document, text):
    added = uploading.add(
        document.knowledge_base, file=ContentFile(text.encode()), name="备份.md",
        title=document.title, external_id=document.external_id, approved=True,
    )  # fmt: skip
    return added.revision


WORSE = "# 数据库备份\n\n本文已迁移到新的门户，请联系管理员获取访问权限。\n"


def test_a_document_of_a_gated_base_waits_when_it_loses_answers(base, admin_client):
    ask_about(base)
    KnowledgeBase.objects.update(gated=True)
    document = Document.objects.get(title="数据库备份")
    before, chunks = document.current_id, list(document.chunks.values_list("pk", flat=True))
    revision = revision_of(document, WORSE)
    tasks.process(revision.pk)
    revision.refresh_from_db()
    document.refresh_from_db()
    assert revision.status == Status.HELD
    assert document.current_id == before  # nothing of the trial is left
    assert list(document.chunks.values_list("pk", flat=True)) == chunks
    assert Run.objects.first().verdict == "refused"
    page = admin_client.get(reverse("admin:knowledge_document_change", args=[document.pk]))
    run = reverse("admin:evaluation_run_change", args=[Run.objects.first().pk])
    assert run in page.content.decode()  # what was lost is a click away
    assert reverse("admin:knowledge_document_release", args=[document.pk]) in page.content.decode()
    admin_client.post(reverse("admin:knowledge_document_release", args=[document.pk]))
    tasks.process(revision.pk)
    document.refresh_from_db()
    assert document.current_id == revision.pk


@pytest.mark.parametrize("status", [Status.HELD, Status.QUEUED, Status.FAILED])
def test_only_what_did_answer_is_put_back(base, admin_client, status):
    document = Document.objects.get(title="数据库备份")
    held = revision_of(document, WORSE)
    Revision.objects.filter(pk=held.pk).update(status=status)
    url = reverse("admin:knowledge_document_put_back", args=[document.pk])
    assert admin_client.post(url, {"revision": held.pk}).status_code == 404
    assert not Revision.objects.filter(released=True).exists()


def test_one_that_loses_nothing_answers(base):
    ask_about(base)
    KnowledgeBase.objects.update(gated=True)
    document = Document.objects.get(title="数据库备份")
    text = document.chunks.get().text
    revision = revision_of(document, f"# 数据库备份\n\n{text}\n\n恢复演练每季度一次。\n")
    tasks.process(revision.pk)
    document.refresh_from_db()
    assert document.current_id == revision.pk


def test_documents_that_went_live_are_replayed_and_raise_an_alert(base, admin_client):
    ask_about(base)
    assert gating.watch() == 1  # what comes later is compared with it
    run_all()
    assert gating.watch() == 0
    document = Document.objects.get(title="数据库备份")
    first = Revision.objects.get(pk=document.current_id)
    revision = revision_of(document, WORSE)
    tasks.process(revision.pk)
    assert gating.watch() == 0  # it may still be changing
    assert gating.watch() == 1
    run_all()
    alert = Alert.objects.get(ended_at=None)
    assert base.name in alert.text
    run = Run.objects.first()
    page = admin_client.get(reverse("admin:evaluation_run_change", args=[run.pk]))
    assert "数据库备份" in page.content.decode()
    admin_client.post(
        reverse("admin:knowledge_document_put_back", args=[document.pk]), {"revision": first.pk}
    )
    document.refresh_from_db()
    tasks.process(document.latest_id)
    document.refresh_from_db()
    assert document.current_id > revision.pk
    gating.watch()
    gating.watch()
    run_all()
    assert not Alert.objects.filter(ended_at=None).exists()


@pytest.fixture
def worse(base):
    """The alert of a base that lost an answer."""
    ask_about(base)
    gating.watch()
    run_all()
    tasks.process(revision_of(Document.objects.get(title="数据库备份"), WORSE).pk)
    gating.watch()
    gating.watch()
    run_all()
    return Alert.objects.get(ended_at=None)


def test_what_is_meant_to_be_so_is_no_alert_any_more(worse, base, admin_client):
    run = Run.objects.first()
    url = reverse("admin:evaluation_run_accept", args=[run.pk])
    assert url in admin_client.get(reverse("admin:evaluation_run_change", args=[run.pk])).text
    admin_client.post(url)
    worse.refresh_from_db()
    assert worse.ended_at
    assert url not in admin_client.get(reverse("admin:evaluation_run_change", args=[run.pk])).text
    put(base, "新", Block("paragraph", "一条。"))
    gating.watch()
    gating.watch()
    assert Run.objects.first().baseline == run


def test_what_is_accepted_counts_for_a_replay_that_has_begun(worse, base):
    run = Run.objects.first()
    put(base, "新", Block("paragraph", "一条。"))
    gating.watch()
    gating.watch()
    begun = Run.objects.first()
    assert begun.unfinished
    assert begun.baseline != run
    assert gating.accept(run)
    begun.refresh_from_db()
    assert begun.baseline == run


def test_a_golden_question_that_is_corrected_ends_the_alert(worse, base):
    GoldenQuestion.objects.filter(question=BACKUP).update(approved_at=None)
    gating.watch()
    gating.watch()
    run_all()
    worse.refresh_from_db()
    assert worse.ended_at


def test_the_alert_of_a_base_that_is_looked_at_no_more_is_over(worse, base):
    base.delete()
    gating.watch()
    worse.refresh_from_db()
    assert worse.ended_at


def test_the_same_traffic_is_asked_again_after_a_change(base, settings):
    settings.GATE_TRAFFIC_LOSS = 0
    ask_about(base)
    asked = asking.ask(Conversation.objects.create(visitor="w" * 32), BACKUP)[1]
    runner.run_waiting()
    gating.watch()
    run_all()
    Turn.objects.filter(pk=asked.pk).update(created_at=timezone.now() - timedelta(days=3))
    GoldenQuestion.objects.filter(question=BACKUP).delete()
    tasks.process(revision_of(Document.objects.get(title="数据库备份"), WORSE).pk)
    gating.watch()
    gating.watch()
    run_all()
    assert Run.objects.first().results.filter(turn=asked).exists()
    assert Alert.objects.filter(ended_at=None).exists()


def test_the_alert_of_a_replay_is_no_matter_of_goals(base):
    alerts.begin(f"replay:{base.pk}", "答得比以前差。")
    alerts.check()
    assert Alert.objects.filter(ended_at=None).exists()


def test_a_setting_of_the_environment_is_replayed_as_well(base, settings):
    ask_about(base)
    gating.watch()
    run_all()
    settings.CONFIDENCE = 1.0
    assert [gating.watch(), gating.watch()] == [0, 1]
    run_all()
    assert Alert.objects.filter(ended_at=None).exists()


def test_a_base_that_keeps_changing_is_looked_at_all_the_same(base, monkeypatch):
    ask_about(base)
    gating.watch()
    run_all()
    put(base, "新", Block("paragraph", "一条。"))
    assert gating.watch() == 0
    monkeypatch.setattr(gating, "SETTLED", -1)
    put(base, "新的", Block("paragraph", "又一条。"))
    assert gating.watch() == 1


def test_only_what_is_held_is_released_and_only_by_who_may(base, client, admin_user):
    document = Document.objects.get(title="数据库备份")
    assert not publishing.release(document.latest)
    url = reverse("admin:knowledge_document_release", args=[document.pk])
    client.force_login(admin_user)
    assert client.get(url).status_code == 405
    admin_user.is_superuser = False
    admin_user.save()
    assert client.post(url).status_code == 403


def test_the_fingerprint_is_another_on_every_change(base):
    ask_about(base)
    marks = {running.fingerprint(running.plan({}))}
    golden.add("另一个问题是什么？", "gap", base=base, approved=True)
    marks.add(running.fingerprint(running.plan({})))
    marks.add(running.fingerprint(running.plan({"PASSAGES": 2})))
    GoldenQuestion.objects.update(must=True)
    marks.add(running.fingerprint(running.plan({})))
    assert len(marks) == 4

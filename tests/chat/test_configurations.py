"""Which settings and prompts answer a turn: edited, gated, put to use, rolled back."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from chat import asking, configurations, kept, llms, prompting, runner
from chat.models import Configuration, Conversation
from chat.state import TurnState
from opsdesk.gates import Refusal
from opsdesk.tuning import tuned, tuning

QUESTION = "数据库备份保存在哪个目录，保留多久？"
ASKED = []


@pytest.fixture(autouse=True)
def ungated(settings):
    settings.GATES, settings.VARIANTS = [], []


def configuration(**overrides):
    number = Configuration.objects.count() + 1
    return Configuration.objects.create(name="试验", version=number, overrides=overrides)


def asked(question=QUESTION, visitor="w" * 32):
    conversation = Conversation.objects.create(visitor=visitor)
    _message, turn = asking.ask(conversation, question)
    runner.run_waiting()
    turn.refresh_from_db()
    return turn


def refusing(change):
    ASKED.append(change)
    return Refusal("有 2 题答错了。")


def waiting(change):
    return Refusal("正在回放。", waiting=True)


def to_the_first(conversation):
    row = Configuration.objects.get(on_trial=True)
    return configurations.Variant(7, "b", row.pk) if conversation.visitor[0] == "a" else None


def gated(settings, gate):
    settings.GATES = [f"{__name__}.{gate.__name__}"] if gate else []


def test_a_turn_is_answered_by_what_is_in_use_and_says_so(base, settings):
    before = asked()
    assert (before.outcome, "configuration" in before.trace) == ("answered", False)
    assert asked().trace["kept"]["turn"] == before.pk
    strict = configuration(CONFIDENCE=1.0)
    assert configurations.activate(strict, None) is None
    turn = asked()  # the kept answer was made by other settings
    assert turn.outcome == "handoff"
    assert turn.trace["configuration"] == {
        "id": strict.pk, "name": "试验 v1", "digest": strict.digest,
    }  # fmt: skip
    configurations.end()
    assert asked().outcome == "answered"


def test_one_is_in_use_and_the_one_before_comes_back_without_a_gate(db, settings):
    first, second = configuration(PASSAGES=3), configuration(PASSAGES=4)
    configurations.activate(first, None)
    configurations.activate(second, None)
    first.refresh_from_db()
    assert (first.state, configurations.active()) == ("earlier", second)
    with pytest.raises(IntegrityError), transaction.atomic():
        Configuration.objects.update(state="active")
    gated(settings, refusing)
    assert configurations.activate(first, None, freely=True) is None
    assert configurations.overrides() == {"PASSAGES": 3}
    third = configuration()
    assert configurations.activate(third, None, freely=True)  # it never was in use


@pytest.mark.django_db(transaction=True)
def test_a_double_click_makes_two_versions():
    row, made = configuration(), []

    def click():
        made.append(configurations.another(row, None).version)
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            made.append(configurations.another(row, None).version)
            second = pool.submit(click)
            while not _waited_for():
                assert not second.done()
        second.result(30)
    assert made == [2, 3]


def _waited_for():
    """Whether another connection waits for what this one holds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks"
            " WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        return cursor.fetchone()[0] > 0


def test_a_gate_refuses_keeps_waiting_and_is_overruled(db, settings, admin_user):
    row = configuration(JUDGE=True)
    gated(settings, waiting)
    assert configurations.activate(row, admin_user).waiting
    row.refresh_from_db()
    assert (row.state, row.editable) == ("checking", False)
    gated(settings, refusing)
    ASKED.clear()
    assert configurations.activate(row, admin_user).reason == "有 2 题答错了。"
    assert ASKED[0].overrides == {"JUDGE": True}
    row.refresh_from_db()
    assert row.state == "draft"
    assert configurations.activate(row, admin_user, overrule="紧急修复") is None
    row.refresh_from_db()
    assert (row.state, row.overruled, row.used_by) == ("active", "紧急修复", admin_user)


def test_some_visitors_get_the_variant(base, settings):
    row = configuration(CONFIDENCE=1.0)
    Configuration.objects.filter(pk=row.pk).update(on_trial=True)
    settings.VARIANTS = [f"{__name__}.to_the_first"]
    tried, other = asked(visitor="a" * 32), asked(visitor="b" * 32)
    assert tried.outcome == "handoff"
    assert (tried.trace["configuration"]["arm"], tried.trace["configuration"]["id"]) == (
        "b", row.pk,
    )  # fmt: skip
    assert (other.outcome, "configuration" in other.trace) == ("answered", False)


def test_which_holds_is_found_in_one_statement(db, django_assert_num_queries):
    conversation = Conversation.objects.create()
    configuration()
    with django_assert_num_queries(1):
        assert configurations.of(conversation) == ({}, {})


def test_what_holds_is_part_of_what_an_answer_is_kept_by(base):
    one, other = TurnState(QUESTION, [base]), TurnState(QUESTION, [base], tuned={"PASSAGES": 2})
    assert kept.key(one) != kept.key(other)


def test_a_model_prompts_and_the_reranker_are_chosen_by_what_holds(settings, configured):
    assert (llms.model().model, llms.model().temperature) == ("fake", 0.2)
    shipped = prompting.digest("answer.system")
    overrides = {
        "OPENAI_MODEL": "qwen", "OPENAI_TEMPERATURE": 0.0, "prompt:answer.system": "另一份",
        "PASSAGES": 2,
    }  # fmt: skip
    with tuning(overrides):
        assert (llms.model().model, llms.model().temperature) == ("qwen", 0.0)
        assert prompting.prompt("answer.system").template == "另一份"
        assert prompting.digest("answer.system") != shipped
        assert tuned("PASSAGES") == 2
        with tuning({"LLM": False}):
            assert llms.model() is None
    assert (tuned("PASSAGES"), prompting.digest("answer.system")) == (settings.PASSAGES, shipped)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("prompt:answer.user", "资料：$passages", "$question"),
        ("prompt:answer.user", "$passages $question $secret", "$secret"),
        ("prompt:answer.user", "$passages $question 每次 $ 5", "$$"),
        ("prompt:answer.system", "好好回答。", "answerable"),
        ("prompt:answer.marked", "好好回答。", "NO_ANSWER"),
        ("CONFIDENCE", 1.5, "1"),
        ("PASSAGES", "many", ""),
        ("SECRET_KEY", "x", "SECRET_KEY"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(name, value, said):
    with pytest.raises(ValidationError) as refused:
        configurations.cleaned({name: value})
    [sentence] = refused.value.message_dict[name]
    assert said in sentence


def test_what_says_nothing_else_is_not_kept():
    shipped = prompting.shipped("answer.user").template
    given = {
        "prompt:answer.user": shipped.replace("\n", "\r\n"), "CONFIDENCE": "", "JUDGE": "False",
        "PASSAGES": "4", "LLM": "",
    }  # fmt: skip
    assert configurations.cleaned(given) == {"JUDGE": False, "PASSAGES": 4}

"""What staff see of a choice that was offered: it is no answer, and agents get the best of it."""

import pytest

from chat import asking, runner, transcript
from chat.models import Citation, Conversation, Turn
from handoff import assisting, desk, learning, teams
from handoff.models import Handoff, Team
from knowledge.models import Document, KnowledgeBase
from knowledge.parsing.document import Block
from tests.chat.conftest import put_all

QUESTION = "堡垒机密码过期后怎么处理"


@pytest.fixture
def conversation(db):
    return Conversation.objects.create(visitor="v" * 32)


@pytest.fixture
def bases(db):
    return [
        KnowledgeBase.objects.create(slug=slug, name=slug, audience="visitors")
        for slug in ("ops", "net")
    ]


def cite(conversation, outcome, *bases):
    message = transcript.append(conversation.pk, "assistant", "…")
    asked = transcript.append(conversation.pk, "customer", "问题")
    Turn.objects.create(
        conversation=conversation, message=asked, reply=message, epoch=0, outcome=outcome,
        status="done",
    )  # fmt: skip
    for n, base in enumerate(bases, 1):
        document = Document.objects.create(knowledge_base=base, title="手册")
        Citation.objects.create(message=message, n=n, title="手册", document=document, quote="…")


def test_the_team_is_that_of_the_last_answer_and_no_choice_among_bases(conversation, bases):
    ops, net = bases
    for base in bases:
        Team.objects.create(name=base.name).bases.add(base)
    other = Conversation.objects.create(visitor="w" * 32)
    cite(other, "answered", ops)
    cite(conversation, "answered", ops)
    cite(conversation, "clarifying", net, ops)
    assert teams.of(conversation).name == "ops"
    cite(conversation, "clarifying", net, net)  # all of what is offered is theirs
    found = teams.of_each([conversation, other])
    assert [found[one.pk].name for one in (conversation, other)] == ["net", "ops"]


def test_a_draft_entry_names_no_place_that_was_only_offered(conversation, bases, admin_user):
    cite(conversation, "clarifying", *bases)
    asking.call_human(conversation, "asked")
    desk.claim(conversation, admin_user)
    assert learning._sources(Handoff.objects.get()) == []


@pytest.fixture
def offered(bases, conversation, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    text = "堡垒机密码过期后处理：联系{}负责人重置。"
    places = "机房一", "机房二", "办公网", "测试环境", "开发环境", "容灾中心", "分支机构", "云上"
    put_all(
        bases[0],
        *((f"{one}手册", [Block("paragraph", text.format(one))], "") for one in places),
        *(
            (f"值班 {n}", [Block("paragraph", f"第 {n} 组值班人员负责机房巡检并交接。")], "")
            for n in range(12)
        ),
    )
    asking.ask(conversation, QUESTION)
    runner.run_waiting()
    turn = Turn.objects.get()
    assert turn.outcome == "clarifying"
    return turn.reply


def test_an_agent_gets_the_best_of_the_places_as_a_draft(offered, conversation, admin_user):
    asking.ask(conversation, "转人工")  # asks nothing
    runner.run_waiting()
    desk.claim(conversation, admin_user)
    draft = assisting.draft(conversation, admin_user)
    assert draft["guessed"]
    best = offered.citations.get(n=1).title
    assert draft["text"].startswith(f"堡垒机密码过期后处理：联系{best.removesuffix('手册')}")
    assert {one["title"] for one in draft["citations"]} == {
        one.title for one in offered.citations.all()
    }


def place(offered, n):
    return offered.citations.get(n=n).title


@pytest.mark.parametrize("taken_over_first", [False, True])
def test_a_draft_is_of_the_place_that_was_picked(
    taken_over_first, offered, conversation, admin_user
):
    if taken_over_first:
        desk.take_over(conversation, admin_user)
    asking.ask(conversation, "2")
    runner.run_waiting()
    if not taken_over_first:
        desk.take_over(conversation, admin_user)
    draft = assisting.draft(conversation, admin_user)
    assert [one["title"] for one in draft["citations"]] == [place(offered, 2)]
    assert not draft["guessed"]


@pytest.mark.parametrize("told", ["那负责人是谁", "谢谢", None])
def test_a_draft_of_what_follows_a_pick_stays_with_it(told, offered, conversation, admin_user):
    asking.ask(conversation, "3")
    runner.run_waiting()
    desk.take_over(conversation, admin_user)
    for text in filter(None, [told, "那负责人呢"]):
        asking.ask(conversation, text)
    draft = assisting.draft(conversation, admin_user)
    assert [one["title"] for one in draft["citations"]] == [place(offered, 3)]


def test_a_draft_is_of_no_place_that_was_picked_before_something_else(
    offered, conversation, admin_user
):
    asking.ask(conversation, "3")
    runner.run_waiting()
    desk.take_over(conversation, admin_user)
    asking.ask(conversation, "值班人员怎么交接机房巡检")
    asking.ask(conversation, "2")
    draft = assisting.draft(conversation, admin_user)
    assert draft is None or [one["title"] for one in draft["citations"]] != [place(offered, 2)]


@pytest.mark.parametrize("told", [["2"], ["2", "那负责人是谁"]])
def test_a_draft_entry_asks_for_the_place_that_was_picked(told, offered, conversation, admin_user):
    for text in [*told, "转人工"]:
        asking.ask(conversation, text)
        runner.run_waiting()
    question = learning._question(Handoff.objects.get())
    assert question.startswith(QUESTION)
    assert place(offered, 2) in question


def test_a_draft_completes_what_leans_on_the_question_before(
    bases, conversation, admin_user, settings, tmp_path
):
    settings.MEDIA_ROOT = tmp_path
    put_all(
        bases[0],
        *(
            (f"{what}手册", [Block("paragraph", f"{what}保存在 /data 目录，保留 {days} 天。")], "")
            for what, days in (("访问日志", 7), ("数据库备份", 14), ("监控截图", 30))
        ),
    )
    asking.ask(conversation, "数据库备份保存在哪个目录？")
    runner.run_waiting()
    desk.take_over(conversation, admin_user)
    asking.ask(conversation, "那保留几天呢")
    assert "14 天" in assisting.draft(conversation, admin_user)["text"]


def test_a_draft_entry_goes_to_the_base_that_all_of_a_choice_is_of(bases, conversation, admin_user):
    ops, net = bases
    cite(conversation, "answered", ops)
    cite(conversation, "clarifying", net, net)
    asking.call_human(conversation, "asked")
    desk.claim(conversation, admin_user)
    assert learning._base(admin_user, Handoff.objects.get()) == net

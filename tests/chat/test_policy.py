import pytest

from chat import asking, policy, runner
from chat.models import EscalationPolicy, Rating, Turn
from handoff import desk
from handoff.models import Handoff
from knowledge.models import KnowledgeBase

DISK = "磁盘使用率超过 90% 怎么找出大的日志？"
UNKNOWN = ["量子纠缠仪如何部署？", "火星上的基站怎么安装？", "恐龙化石怎么升级？"]


def say(conversation, *texts):
    """What each message came to: its outcome, and what the policy said and why."""
    for text in texts:
        asking.ask(conversation, text)
        runner.run_waiting()
    return [
        (turn.outcome, turn.trace.get("policy", {}).get("action", ""),
         turn.trace.get("policy", {}).get("because", ""))
        for turn in Turn.objects.order_by("pk")
    ]  # fmt: skip


def choose(**fields):
    return EscalationPolicy.objects.create(**fields)


def last():
    return Turn.objects.latest("pk")


def reply():
    return last().reply


@pytest.mark.parametrize(
    ("text", "because", "reason"),
    [("转人工", "asked", "asked"), ("答非所问", "unhappy", "unhappy"),
     ("傻逼", "abuse", "unhappy"), (UNKNOWN[0], "unsure", "no_answer")],
)  # fmt: skip
def test_as_delivered_a_person_is_called_at_once(conversation, text, because, reason):
    assert say(conversation, text) == [("handoff", "call", because)]
    assert Handoff.objects.get().reason == reason


def test_who_is_in_a_hurry_gets_the_answer_and_the_offer(base, conversation):
    assert say(conversation, "急！" + DISK) == [("answered", "offer", "mood")]
    assert "转人工" in reply().data["options"]
    assert "du -sh" in reply().text
    trace = last().trace
    assert (trace["intent"], trace["intent_by"], trace["mood"]) == ("question", "rules", "urgent")
    assert trace["policy"]["facts"] == {
        "intent": "", "mood": "urgent", "rounds": 0, "complaints": 0, "offers": 0, "unsure": False,
    }  # fmt: skip


def test_an_offer_is_taken_up_with_a_yes(conversation):
    choose(unsure="offer")
    assert say(conversation, UNKNOWN[0]) == [("clarifying", "offer", "unsure")]
    assert reply().text == "知识库里没有找到可靠的答案。 需要转人工吗？"
    assert reply().data["options"] == ["转人工", "不用了"]
    assert say(conversation, "好的")[-1][0] == "handoff"
    assert Handoff.objects.get().reason == "asked"


def test_an_offer_is_declined(conversation):
    choose(unsure="offer")
    assert say(conversation, UNKNOWN[0], "不用了，谢谢")[-1][0] == "chat"
    assert not Handoff.objects.exists()


def test_three_rounds_without_progress_call_a_person(conversation):
    choose(unsure="offer")
    assert say(conversation, *UNKNOWN) == [
        ("clarifying", "offer", "unsure"),
        ("clarifying", "offer", "unsure"),
        ("handoff", "call", "rounds"),
    ]
    assert Handoff.objects.get().get_reason_display() == "多轮没有进展"
    assert "抱歉" in reply().text


def test_another_question_is_no_reply_to_an_offer_and_its_answer_is_progress(base, conversation):
    choose(unsure="offer")
    assert say(conversation, *UNKNOWN[:2], DISK)[-1] == ("answered", "go on", "")
    assert last().trace["query"] == DISK
    assert say(conversation, UNKNOWN[2])[-1] == ("clarifying", "offer", "unsure")


def test_the_same_question_again_and_thumbs_down_count(base, conversation):
    choose(rounds="offer", rounds_times=2)
    assert say(conversation, DISK, DISK)[-1] == ("answered", "go on", "")
    assert say(conversation, DISK)[-1] == ("answered", "offer", "rounds")
    assert "转人工" in reply().data["options"]
    say(conversation, "谢谢")
    assert say(conversation, DISK)[-1] == ("answered", "go on", "")
    for turn in Turn.objects.exclude(reply=None).filter(outcome="answered"):
        Rating.objects.create(message=turn.reply, helpful=False)
    say(conversation, "数据库备份保存在哪个目录？")
    assert last().trace["policy"]["facts"]["rounds"] == 1


def test_dissatisfied_a_second_time_a_person_is_called(base, conversation):
    choose(unhappy="later", unhappy_times=2)
    said = say(conversation, DISK, "还是不行", "试过了，没用")
    assert said[1:] == [("clarifying", "offer", "unhappy"), ("handoff", "call", "unhappy")]


def test_abuse_can_be_passed_over(conversation):
    choose(abuse="go on")
    assert say(conversation, "傻逼") == [("chat", "go on", "")]
    assert reply().text == "请告诉我您需要什么帮助。"


def test_offering_first_holds_once_and_not_for_who_asked(conversation):
    choose(offer_first=True)
    said = say(conversation, UNKNOWN[0], UNKNOWN[1])
    assert said == [("clarifying", "offer", "unsure"), ("handoff", "call", "unsure")]


def test_who_asks_for_a_person_may_be_asked_once(conversation):
    choose(asked="offer")
    said = say(conversation, "转人工", "转人工")
    assert said == [("clarifying", "offer", "asked"), ("handoff", "call", "asked")]


def test_a_base_may_have_a_policy_of_its_own(conversation):
    base, other = (
        KnowledgeBase.objects.create(slug=slug, name=slug, audience="visitors")
        for slug in ("ops", "hr")
    )
    choose(abuse="call")
    choose(knowledge_base=base, abuse="go on")
    assert EscalationPolicy.of(other.pk).abuse == "call"
    conversation.knowledge_base = base
    conversation.save()
    assert say(conversation, "傻逼") == [("chat", "go on", "")]


def test_after_a_person_the_count_starts_anew(conversation, django_user_model):
    choose(unsure="offer")
    say(conversation, *UNKNOWN)
    agent = django_user_model.objects.create_superuser("agent")
    desk.claim(conversation, agent)
    desk.return_to_bot(conversation, agent)
    assert say(conversation, UNKNOWN[0])[-1] == ("clarifying", "offer", "unsure")
    assert last().trace["policy"]["facts"]["rounds"] == 1


def test_an_offer_made_before_a_person_came_is_not_taken_up_after_them(
    conversation, django_user_model
):
    choose(unsure="offer")
    say(conversation, UNKNOWN[0])
    asking.call_human(conversation, "asked")
    agent = django_user_model.objects.create_superuser("agent")
    desk.claim(conversation, agent)
    desk.return_to_bot(conversation, agent)
    assert say(conversation, "好的")[-1][0] == "chat"
    assert last().trace["intent"] == "thanks"


def past(outcome, intent="question", **fields):
    return policy.Past(fields.pop("query", ""), intent, outcome, **fields)


@pytest.mark.parametrize(
    ("earlier", "now", "unsure", "rounds"),
    [
        ([past("clarifying"), past("clarifying")], past("clarifying"), False, 2),
        ([past("clarifying"), past("clarifying")], past(""), False, 0),
        ([past("clarifying"), past("clarifying")], past(""), True, 3),
        ([past("clarifying", told=1), past("clarifying")], past("clarifying", told=2), False, 0),
        ([past("chat", "greeting"), past("answered", disliked=True)], past(""), False, 1),
        ([past("chat", "thanks"), past("answered", disliked=True)], past(""), False, 0),
        ([past("answered")], past("", "unhappy"), False, 1),
        ([past("clarifying"), past("answered")], past("", picked="a"), True, 1),
        ([past("answered", query="q", picked="a")], past("", query="q"), False, 0),
        ([past("answered", query="q", picked="a")], past("", query="q", picked="a"), False, 1),
    ],
)
def test_rounds_are_counted(earlier, now, unsure, rounds):
    assert policy.facts_of(now, earlier, "", unsure).rounds == rounds

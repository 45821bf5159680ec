"""What is offered where the base seems to hold the answer, but several places are as good."""

from dataclasses import replace

import pytest

from chat import asking, graph, offering, runner
from chat.models import Turn
from handoff.models import Handoff
from knowledge.models import Document
from knowledge.parsing.document import Block
from tests.chat.conftest import put

QUESTION = "堡垒机密码过期后怎么处理"
PLACES = ("机房一", "机房二", "办公网", "测试环境", "开发环境", "容灾中心", "分支机构", "云上")


@pytest.fixture
def places(base):
    return [
        put(
            base, f"{name}手册", Block("paragraph", f"堡垒机密码过期后处理：联系{name}负责人重置。")
        )
        for name in PLACES
    ]


def ask(conversation, text):
    asking.ask(conversation, text)
    runner.run_waiting()
    return Turn.objects.select_related("reply").latest("pk")


def checks(turn):
    return [
        (one["check"], one["verdict"], one.get("about")) for one in turn.trace.get("checks", [])
    ]


def test_what_is_as_good_is_offered_with_a_line_of_each(places, conversation):
    turn = ask(conversation, QUESTION)
    assert turn.outcome == "clarifying"
    assert checks(turn) == [("ambiguity", "asked", "passage")]
    *labels, person = turn.reply.data["options"]
    assert person == "转人工"
    assert len(labels) == 5
    assert set(labels) < {place.title for place in places}
    lines = turn.reply.text.splitlines()[2:]
    assert [citation.title for citation in turn.reply.citations.order_by("n")] == labels
    for n, (line, label) in enumerate(zip(lines, labels, strict=True), 1):
        assert line.startswith(f"{n}. {label}：堡垒机密码过期后处理")
        assert line.endswith(f"[{n}]")
    assert turn.trace["sureness"]["right"] < turn.trace["sureness"]["least"]
    assert not Handoff.objects.exists()


@pytest.mark.parametrize("told", ["2", " ２", None])
def test_the_one_that_is_picked_answers_and_no_other(told, places, conversation):
    options = ask(conversation, QUESTION).reply.data["options"]
    turn = ask(conversation, told or options[1])
    assert turn.outcome == "answered"
    assert checks(turn) == [("ambiguity", "chosen", "passage")]
    cited = turn.reply.citations.get()
    assert cited.title == options[1]
    assert options[1].removesuffix("手册") in turn.reply.text
    assert turn.trace["query"] == QUESTION
    assert turn.trace["sureness"]["features"] == {}  # it teaches nothing of what was found


def test_a_person_is_one_reply_away(places, conversation):
    ask(conversation, QUESTION)
    assert ask(conversation, "转人工").outcome == "handoff"
    assert Handoff.objects.filter(conversation=conversation).exists()


def test_who_says_something_else_is_not_asked_again(places, conversation):
    ask(conversation, QUESTION)
    turn = ask(conversation, "是堡垒机的密码，过期后怎么处理")
    assert turn.outcome == "answered"
    assert turn.reply.data["options"] == ["转人工"]  # not certain


def test_one_that_was_picked_and_is_gone_leaves_the_others(places, conversation):
    options = ask(conversation, QUESTION).reply.data["options"]
    Document.objects.filter(title=options[0]).delete()
    turn = ask(conversation, options[0])
    assert turn.outcome == "answered"
    assert options[0] not in turn.reply.text


def test_what_the_base_does_not_hold_is_still_for_a_person(places, conversation):
    assert ask(conversation, "咖啡机怎么清洗").outcome == "handoff"


def test_sections_are_told_apart_and_long_names_cut(base):
    made = put(
        base,
        "网络手册",
        Block("heading", "防火墙", level=1),
        Block("paragraph", "防火墙策略由网络组配置。"),
    )
    passage = graph.outside("防火墙策略", [base])
    found = graph.run(passage).retrieval.passages[0]
    assert found.document_id == made.pk
    assert offering.label(found) == "网络手册 › 防火墙"
    assert len(offering.label(replace(found, title="很长的标题" * 40))) == offering.LABEL
    bare = replace(found, title="", heading_path=[])
    assert offering.label(bare) == "防火墙策略由网络组配置。"


def test_with_a_choice_of_two_versions_that_one_is_asked_first(base, conversation):
    for version in ("5.7", "8.0"):
        document = put(
            base,
            f"网关 {version}",
            Block("paragraph", f"网关 {version} 的监听端口在部署手册里说明，安装后重启网关。"),
        )
        Document.objects.filter(pk=document.pk).update(version=version)
    assert checks(ask(conversation, "网关的监听端口在哪里说明"))[0] == (
        "ambiguity", "asked", "version",
    )  # fmt: skip

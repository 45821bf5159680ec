"""What is offered where the base seems to hold the answer, but several places are as good."""

from dataclasses import replace
from html import escape

import pytest

from chat import (
    ambiguity,
    asking,
    extractive,
    graph,
    offering,
    picking,
    presenting,
    runner,
    understanding,
)
from chat.models import Turn
from handoff.models import Handoff
from knowledge.masking import masked
from knowledge.models import Document
from knowledge.parsing.document import Block
from knowledge.scope import Scope
from tests.chat.conftest import PLACES, QUESTION, put


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
    assert turn.outcome == "clarifying"
    assert turn.reply.data["options"] == options[1:]


def test_what_the_base_does_not_hold_is_still_for_a_person(places, conversation):
    assert ask(conversation, "咖啡机怎么安装").outcome == "handoff"


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


@pytest.mark.parametrize(
    ("told", "place"),
    [
        ("1", 1), ("1.", 1), ("2.", 2), ("2、", 2), ("第2个", 2), ("第二个", 2), ("就第 2 个吧", 2),
        ("2号", 2), ("二", 2), ("选2", 2), ("我选第二个", 2), ("②", 2), ("number 2", 2), ("#2", 2),
        ("the second one", 2), ("Second", 2), ("2nd", 2), ("no. 2", 2), ("option two", 2),
        ("2.0", None), ("两个都要", None), ("502 错误", None), ("137", None), ("help", None),
        ("第二步怎么做", None), ("", None),
    ],
)  # fmt: skip
def test_a_number_is_read_in_all_the_ways_that_one_says_it(told, place):
    assert understanding.place(told) == place


@pytest.mark.parametrize("told", ["None of these", "none of them.", "以上都不是", "都不是"])
def test_none_of_the_places_in_either_language(told, places, conversation):
    ask(conversation, QUESTION)
    turn = ask(conversation, told)
    assert turn.outcome == "handoff"
    assert checks(turn) == [("ambiguity", "none", "passage")]


def test_the_first_is_picked_by_its_number_too(places, conversation):
    options = ask(conversation, QUESTION).reply.data["options"]
    turn = ask(conversation, "1")
    assert turn.reply.citations.get().title == options[0]


@pytest.mark.parametrize(
    "told",
    [
        "机房二", "机房二的", "我要机房二手册", "机房二那个吧。", "好的，机房二", "好的机房二",
        "嗯，机房二，谢谢", "机房二吧", "那机房二呢", "机房二的呢", "换成机房二",
        "选机房二吧", "我问的是机房二的", "不是机房一，是机房二", "what about 机房二?",
        "the 机房二 one please",
    ],
)  # fmt: skip
def test_a_place_is_picked_by_the_part_of_its_name_that_no_other_has(told):
    asked = pending(*(f"{place}手册 › 密码" for place in PLACES))
    assert picking.worded(asked, told).label == "机房二手册 › 密码"


@pytest.mark.parametrize("told", ["机房", "手册", "密码", "都行", "机房二的网络怎么配置", "的"])
def test_what_several_places_say_or_none_picks_none(told):
    asked = pending(*(f"{place}手册 › 密码" for place in PLACES))
    assert picking.worded(asked, told) is None
    assert picking.worded(pending("如何转人工", "密码手册"), "转人工") is None


@pytest.mark.parametrize(
    ("told", "labels", "picked"),
    [
        ("ES", ("Kubernetes 手册", "Elasticsearch 手册"), None),
        ("DB", ("MongoDB 手册", "网络手册"), None),
        ("Java", ("JavaScript 手册", "网络手册"), None),
        ("java 的", ("JavaScript 手册", "Java 手册"), 1),
        ("MySQL 8", ("MySQL 5.8", "MySQL 8.0"), 1),
        ("生产环境", ("非生产环境", "测试环境"), None),
        ("生产环境", ("非生产环境手册", "生产环境手册"), 1),
        ("非生产环境", ("非生产环境手册", "生产环境手册"), 0),
        ("production", ("Non-production", "Staging"), None),
        ("加密的", ("未加密的磁盘", "网络"), None),
        ("停机升级", ("不停机升级", "回退"), None),
        ("10", ("ORA-01017", "错误 10"), None),
        ("7.2", ("Redis 7.2", "Redis 6.0"), None),
        ("第 10 个", ("第 10 章", "第 2 章"), None),
        ("怎么办", ("密码过期怎么办", "网络手册"), None),
        ("好的", ("好的做法", "网络手册"), None),
        ("机房一，机房二", ("机房一", "机房二"), None),
        ("加密的", ("没有加密的磁盘", "网络"), None),
        ("加密的", ("没有加密的磁盘", "加密的磁盘"), 1),
        ("没有加密的", ("没有加密的磁盘", "加密的磁盘", "网络"), 0),
        ("encrypted", ("Not encrypted disks", "Encrypted disks"), 1),
        ("the cloud one", ("Cloud handbook", "Old version"), 0),
        ("what about the cloud one", ("Cloud handbook", "Old version"), 0),
        ("and the cloud one?", ("Cloud handbook", "Old version"), 0),
        ("what about the port", ("Cloud handbook", "Old version"), None),
    ],
)
def test_no_part_of_a_word_no_opposite_no_number_and_nothing_that_only_asks_picks(
    told, labels, picked
):
    found = picking.worded(pending(*labels), told)
    assert (found and found.label) == (picked if picked is None else labels[picked])


LABELS = (
    "org.apache.kafka.common.errors.TimeoutException: topic missing in the cluster of the room",
    "java.lang.OutOfMemoryError: Java heap space",
    "值班电话 13800138000",
    "手册 root 密码：Abc12340",
    "如何转人工客服",
)


def pending(*labels, about="passage", scope=None, documents=()):
    found = [
        ambiguity.Choice(label, QUESTION, scope or {}, *documents[n : n + 1])
        for n, label in enumerate(labels)
    ]
    return ambiguity.as_pending(QUESTION, ambiguity.Ambiguity(about, found))


@pytest.mark.parametrize("told", LABELS)
def test_a_ready_reply_is_taken_before_anything_is_read_in_it(told, places, conversation):
    Turn.objects.filter(pk=ask(conversation, QUESTION).pk).update(
        pending=pending(*LABELS, documents=[place.pk for place in places])
    )
    turn = ask(conversation, told)
    assert checks(turn) == [("ambiguity", "chosen", "passage")]
    assert turn.outcome == "answered"
    assert turn.reply.citations.get().title == places[LABELS.index(told)].title


def test_what_is_stored_masked_is_recognised():
    [secret] = [label for label in LABELS if "密码" in label]
    assert masked(secret) != secret
    assert ambiguity.chosen(pending(*LABELS), masked(secret)).label == secret


def test_a_pick_keeps_what_the_question_was_asked_within(places, conversation):
    Document.objects.filter(pk__in=[place.pk for place in places]).update(version="8.0")
    asking.ask(conversation, QUESTION, "", Scope.of({"version": "8.0"}))
    runner.run_waiting()
    turn = ask(conversation, "2")
    assert turn.outcome == "answered"
    assert turn.trace["scope"]["version"] == "8.0"


def test_numbers_pick_only_where_numbers_are_shown():
    asked = pending("2.0", "3.0", about="version")
    assert picking.numbered(asked, "2") is None
    assert picking.number(asked, "7") is None
    assert ambiguity.chosen(asked, "2") is None
    assert ambiguity.chosen(asked, "2.0").label == "2.0"


def test_a_number_that_no_place_has_is_told_so(places, conversation):
    options = ask(conversation, QUESTION).reply.data["options"]
    for told in ("7", "好的，第九个"):
        turn = ask(conversation, told)
        assert turn.outcome == "clarifying"
        assert checks(turn) == [("ambiguity", "asked", "passage")]
        assert turn.reply.data["options"] == options
        first, _blank, *lines = turn.reply.text.splitlines()
        assert first == "只有 1–5。是哪一处？"
        assert lines[1] == f"2. {options[1]}"
    assert ask(conversation, "第二个").reply.citations.get().title == options[1]


def test_numbers_that_no_place_has_call_a_person_in_the_end(places, conversation):
    ask(conversation, QUESTION)
    outcomes = [ask(conversation, "9").outcome for _n in range(3)]
    assert outcomes == ["clarifying", "clarifying", "handoff"]


@pytest.mark.parametrize(
    ("told", "labels", "left"),
    [
        ("没有加密的", ("加密的磁盘", "明文的磁盘", "网络"), [1, 2]),
        ("不是加密的那个", ("加密的磁盘", "未加密的磁盘"), [1]),
        ("不要旧版", ("旧版手册", "新版手册", "网络"), [1, 2]),
        ("除了机房一，谢谢", ("机房一", "机房二", "云上"), [1, 2]),
        ("机房一以外的", ("机房一", "机房二", "云上"), [1, 2]),
        ("不是机房一，也不要云上的", ("机房一", "机房二", "云上"), [1]),
        ("not the old one", ("Old version", "New version"), [1]),
        ("no, anything but the cloud one", ("Cloud", "Room 1", "Room 2"), [1, 2]),
        ("没有权限", ("权限手册", "密码手册"), []),
        ("不是手册", ("权限手册", "密码手册"), []),
        ("不要旧版，VPN 怎么申请", ("旧版手册", "新版手册"), []),
        ("不是怎么重置", ("怎么重置", "怎么申请"), []),
        ("不知道", ("知道手册", "密码手册"), []),
        ("除了机房一呢", ("机房一", "机房二", "云上"), [1, 2]),
        ("不要旧版，好吗", ("旧版手册", "新版手册", "网络"), [1, 2]),
        ("可以不要旧版吗", ("旧版手册", "新版手册", "网络"), [1, 2]),
        ("不是1", ("机房一", "机房二", "云上"), [1, 2]),
        ("不要第一个", ("机房一", "机房二", "云上"), [1, 2]),
        ("不是第二个，也不是最后一个", ("机房一", "机房二", "云上"), [0]),
        ("not the second one", ("Cloud", "Room 1", "Room 2"), [0, 2]),
        ("不是第七个", ("机房一", "机房二"), []),
    ],
)
def test_what_is_denied_is_left_out(told, labels, left):
    found = picking.left(pending(*labels), told)
    assert [one["label"] for one in found] == [labels[place] for place in left]


@pytest.mark.parametrize(
    ("told", "place"),
    [
        ("第一个不对，第二个", 2), ("不是第一个，是第二个", 2), ("最后一个", 3),
        ("就最后那个吧", 3), ("the last one", 3), ("选第二个，怎么做", 2), ("第二个，谢谢", 2),
        ("1和2", None), ("第二个怎么做", None), ("最后呢", None), ("1、2", None),
    ],
)  # fmt: skip
def test_a_number_beside_what_is_denied_or_only_asked_picks(told, place):
    assert picking.number(pending("机房一", "机房二", "云上"), told) == place


@pytest.mark.parametrize(
    "told",
    [
        "是不是机房一", "不是机房一吗", "机房一不对吗", "不要机房一吗", "请问是不是机房一",
        "不是第一个吗", "isn't it the 机房一 one", "is it not 机房一", "1和2", "1、2",
        "第一个和第二个都要", "两个都要", "第二个怎么做", "both", "1 and 2",
    ],
)  # fmt: skip
def test_what_asks_whether_it_is_one_or_says_several_denies_and_picks_nothing(told):
    for labels in (("机房一", "机房二"), ("机房一", "机房二", "云上")):
        asked = pending(*labels)
        assert picking.picked(asked, told) is None
        assert picking.left(asked, told) == []
        assert picking.unclear(asked, told)


@pytest.mark.parametrize(
    "told",
    ["网关端口是多少", "第二步怎么做", "怎么做", "有没有权限", "502 错误", "", "两个节点怎么同步"],
)
def test_what_asks_something_else_is_no_unclear_reply(told):
    assert not picking.unclear(pending("机房一", "机房二"), told)


def test_after_an_unclear_reply_the_choice_is_offered_again(places, conversation):
    options = ask(conversation, QUESTION).reply.data["options"]
    turn = ask(conversation, "两个都要")
    assert turn.outcome == "clarifying"
    assert turn.reply.data["options"] == options
    assert turn.reply.text.startswith("有几处内容可能有答案，您问的是哪一处？")
    place = options[0].removesuffix("手册")
    assert ask(conversation, f"是不是{place}").outcome == "clarifying"
    assert ask(conversation, "选第二个，怎么做").reply.citations.get().title == options[1]


def test_what_is_left_is_offered_or_answers(places, conversation):
    *labels, _person = ask(conversation, QUESTION).reply.data["options"]
    for told in (f"不是{labels[0]}", f"不要{labels[1]}那个"):
        turn = ask(conversation, told)
        assert turn.outcome == "clarifying"
    assert turn.reply.text.splitlines()[0] == "是其余哪一处？"
    assert turn.reply.data["options"] == [*labels[2:], "转人工"]
    ask(conversation, f"除了{labels[2]}")
    turn = ask(conversation, f"没有{labels[3]}的")
    assert turn.outcome == "answered"
    assert turn.reply.citations.get().title == labels[4]


def test_what_is_denied_brings_a_customer_further(places, conversation):
    *labels, _person = ask(conversation, QUESTION).reply.data["options"]
    for label in labels[:3]:
        assert ask(conversation, f"不是{label}").outcome == "clarifying"
    assert ask(conversation, "咖啡机怎么安装").outcome == "handoff"
    assert Handoff.objects.get().reason == "no_answer"  # not: stuck


def test_of_two_versions_the_one_that_is_not_denied_answers(base, conversation):
    for version in ("5.7", "8.0"):
        text = f"网关 {version} 的监听端口在部署手册里说明，安装后重启网关。"
        document = put(base, f"网关 {version}", Block("paragraph", text))
        Document.objects.filter(pk=document.pk).update(version=version)
    options = ask(conversation, "网关的监听端口在哪里说明").reply.data["options"]
    turn = ask(conversation, "不是 5.7 吗")
    assert turn.outcome == "clarifying"
    assert turn.reply.data["options"] == options
    turn = ask(conversation, "不是 5.7")
    assert turn.outcome == "answered"
    assert turn.trace["scope"]["version"] == "8.0"


def test_places_of_one_name_are_told_apart(places, conversation, base):
    [passage, *_others] = graph.run(graph.outside(QUESTION, [base])).retrieval.passages
    same = replace(passage, title="密码手册")
    assert offering.told_apart([same] * 3) == ["密码手册", "密码手册 (2)", "密码手册 (3)"]
    sections = [replace(same, heading_path=[part, "步骤"]) for part in ("门户", "网关")]
    assert offering.told_apart(sections) == ["密码手册 › 门户 › 步骤", "密码手册 › 网关 › 步骤"]
    paged = [replace(same, page=page) for page in (3, 4)]
    assert offering.told_apart(paged) == ["密码手册 · 第 3 页", "密码手册 · 第 4 页"]
    long = [replace(same, title="很长的标题" * 20 + part) for part in ("甲", "乙")]
    labels = offering.told_apart(long)
    assert [name[-1] for name in labels] == ["甲", "乙"]
    assert {len(name) for name in labels} == {offering.LABEL}
    folded = [replace(same, title=title) for title in ("Redis", "redis", "转人工")]
    assert offering.told_apart(folded) == ["Redis", "redis (2)", "转人工 (2)"]


def test_documents_of_one_title_give_several_choices(places, conversation):
    Document.objects.filter(pk__in=[place.pk for place in places]).update(title="密码手册")
    assert len(set(ask(conversation, QUESTION).reply.data["options"])) == 6


@pytest.mark.parametrize(
    "title",
    [
        "# 标题一", "3. 网络章节", "- 横线", "> 引用", "`systemctl restart", "[点我](https://x.example/)",
        "[2] 手册 [1]", "**粗** 与 _斜_ ~~删~~", "<b>x</b> &amp; $x=1$", r"\(x=1\) C:\tmp max_conn",
    ],
)  # fmt: skip
def test_a_title_is_shown_sign_by_sign(title):
    shown = presenting.html(f"1. {extractive.literal(title)}：[1]", 1)
    link = '<a class="cite" data-n="1" rel="noopener nofollow">1</a>'
    assert shown == f"<ol>\n<li>{escape(title, quote=False)}：{link}</li>\n</ol>\n"

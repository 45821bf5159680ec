"""What is looked at before an answer is shown: what the question names, asks for, leaves open."""

import pytest
from django.urls import reverse
from django.utils import timezone

from chat import asking, graph, runner
from chat.models import Turn
from handoff.models import Handoff
from knowledge.models import Document, Term
from knowledge.parsing.document import Block
from knowledge.scope import Scope
from tests.chat.conftest import put, put_all


def ask(conversation, text, **more):
    asking.ask(conversation, text, **more)
    runner.run_waiting()
    return Turn.objects.select_related("reply").latest("pk")


def checks(turn):
    return [(check["check"], check["verdict"]) for check in turn.trace.get("checks", [])]


def paragraph(base, title, text, **fields):
    document = put(base, title, Block("paragraph", text))
    Document.objects.filter(pk=document.pk).update(**fields)
    return document


@pytest.fixture
def versions(base):
    for version, port in (("5.7", "3306"), ("8.0", "33060")):
        text = f"支付网关安装后监听端口为 {port}，安装步骤见部署包里的说明，安装完成后重启网关。"
        paragraph(base, f"支付网关 {version} 安装", text, version=version)


# --- the kind of thing asked for


def test_an_answer_holds_the_kind_of_thing_that_was_asked_for(base, conversation):
    turn = ask(conversation, "数据库备份保留多久？")
    assert turn.outcome == "answered"
    assert "14 天" in turn.reply.text
    assert checks(turn) == [("kind", "held")]


def test_without_such_a_thing_a_person_is_called(base, conversation):
    turn = ask(conversation, "磁盘使用率告警由哪个端口上报 /var/log 分区？")
    assert (turn.outcome, checks(turn)) == ("handoff", [("kind", "missing")])


def test_another_passage_that_holds_it_is_shown_instead(base, conversation):
    paragraph(base, "巡检报告一", "机房巡检报告保存期限由机房巡检报告归档人员确定。")
    paragraph(base, "归档要求", "按归档要求，机房巡检报告的保存期限是 36 个月，之后销毁。")
    turn = ask(conversation, "机房巡检报告的保存期限是多久")
    assert "36 个月" in turn.reply.text
    assert turn.reply.citations.get().title == "归档要求"


def test_of_a_long_passage_the_sentence_that_holds_it_is_shown(base, conversation, settings):
    settings.CONFIDENCE = 0.2
    filler = "堡垒机会话由堡垒机会话审计员复核，堡垒机会话录像按部门归类。" * 12
    text = f"{filler}\n\n超过期限的录像自动删除，期限为 180 天。\n\n{filler}"
    paragraph(base, "堡垒机会话录像", text)
    turn = ask(conversation, "堡垒机会话录像保留多少天")
    assert "180 天" in turn.reply.text


def test_years_and_titles_that_are_asked_for_decide_between_passages(base, conversation):
    for year, days in ((2021, 3), (2022, 5)):
        paragraph(
            base,
            f"演练记录 {days}",
            f"{year}年容灾演练安排：容灾演练持续 {days} 天，全员参加容灾演练。",
        )
    turn = ask(conversation, "2022年容灾演练持续几天")
    assert "5 天" in turn.reply.text


# --- things that no base knows


def test_a_product_that_is_not_known_is_told_by_name(base, conversation):
    turn = ask(conversation, "EMQX 怎么安装？")
    assert turn.outcome == "handoff"
    assert turn.reply.text == "知识库中没有 EMQX 的资料。"
    assert checks(turn) == [("unseen", "missing")]
    assert "知识库中没有 EMQX 的资料。" in Handoff.objects.get().summary


def test_the_askers_own_values_refuse_nothing(base, conversation):
    turn = ask(
        conversation, "10.1.2.3 上 Redis 哨兵故障转移的超时参数 failover-timeout 默认多少毫秒"
    )
    assert turn.outcome == "answered"
    assert "failover-timeout" in turn.reply.text
    assert checks(turn) == [("kind", "held")]


def test_beside_a_known_product_the_nearest_is_shown_with_a_note(base, conversation):
    turn = ask(conversation, "Redis 主从切换由哨兵完成，和 EMQX 的故障转移超时参数有关吗")
    assert turn.outcome == "answered"
    assert turn.reply.text.startswith("知识库中没有 EMQX 的资料。")
    assert "failover-timeout" in turn.reply.text


def test_another_word_for_a_term_and_the_name_of_the_base_are_known(base, conversation):
    Term.objects.create(knowledge_base=base, canonical="哨兵", variants=["RedisHA"])
    assert checks(ask(conversation, "RedisHA 的故障转移由谁完成")) != [("unseen", "missing")]
    base.name = "Foobar 手册"
    base.save()
    assert ("unseen", "missing") not in checks(ask(conversation, "Foobar 怎么安装"))


# --- which one is meant


def test_versions_that_differ_are_offered(versions, conversation):
    turn = ask(conversation, "支付网关的安装端口是什么")
    assert turn.outcome == "clarifying"
    assert sorted(turn.reply.data["options"]) == ["5.7", "8.0", "以上都不是"]
    assert turn.reply.data["options"][-1] == "以上都不是"
    assert checks(turn) == [("ambiguity", "asked")]
    chosen = ask(conversation, "8.0")
    assert chosen.outcome == "answered"
    assert "33060" in chosen.reply.text
    assert ("ambiguity", "chosen") in checks(chosen)


def test_a_follow_up_after_a_choice_leans_on_the_question(versions, conversation):
    ask(conversation, "支付网关的安装端口是什么")
    ask(conversation, "8.0")
    turn = ask(conversation, "那安装完成后要做什么")
    assert "支付网关" in turn.trace["query"]
    assert turn.trace["scope"]["version"] == "8.0"
    assert turn.outcome == "answered"


def test_none_of_the_choices_calls_a_person(versions, conversation):
    ask(conversation, "支付网关的安装端口是什么")
    turn = ask(conversation, "以上都不是")
    assert (turn.outcome, Handoff.objects.get().reason) == ("handoff", "no_answer")


def test_something_else_than_a_choice_is_a_question_and_nobody_is_asked_twice(
    versions, conversation
):
    ask(conversation, "支付网关的安装端口是什么")
    turn = ask(conversation, "支付网关安装后监听的端口到底是多少")
    assert turn.outcome == "answered"


def test_who_names_the_version_is_not_asked(versions, conversation):
    turn = ask(conversation, "支付网关 8.0 的安装端口是什么")
    assert turn.outcome == "answered"
    assert "33060" in turn.reply.text


def test_with_a_scope_nobody_is_asked(versions, conversation):
    turn = ask(conversation, "支付网关的安装端口是什么", scope=Scope(version="5.7"))
    assert turn.outcome == "answered"
    assert "3306，" in turn.reply.text


def test_a_short_question_that_several_titles_complete_is_asked_back(base, conversation):
    for place in ("门户", "邮箱"):
        paragraph(base, f"修改{place}密码", f"修改{place}密码：登录{place}，在个人设置里修改密码。")
    turn = ask(conversation, "修改密码")
    assert turn.outcome == "clarifying"
    assert {"修改门户密码", "修改邮箱密码"} < set(turn.reply.data["options"])
    assert "邮箱" in ask(conversation, "修改邮箱密码").reply.text


def test_outside_a_conversation_the_same_checks_hold(base):
    given = graph.answer_question("EMQX 怎么安装？", [base])
    assert (given.outcome, given.text) == ("handoff", "知识库中没有 EMQX 的资料。")


def test_staff_read_what_the_checks_found(base, conversation, admin_client):
    turn = ask(conversation, "数据库备份保留多久？")
    page = admin_client.get(reverse("admin:chat_turn_change", args=[turn.pk])).content.decode()
    assert all(f"<td>{told}</td>" in page for told in ("问的是哪类内容", "分块中有", "时长"))


def test_in_a_small_base_what_shares_only_how_stands_not_beneath(base, conversation):
    said = {
        "常见问题": "告警太多怎么处理：在监控平台点击静默，选择标签与时长。",
        "值班": "收到告警以后怎么处理：先在应急群里说明，再看监控平台。",
        "证书": "证书过期怎么处理：同步时间，更新以后再连。",
        "令牌": "令牌过期怎么处理：同步时间，再领一个新的。",
    }
    put_all(base, *((title, [Block("paragraph", text)], "") for title, text in said.items()))
    turn = ask(conversation, "告警怎么处理")
    assert turn.outcome == "answered"
    titles = set(turn.reply.citations.values_list("title", flat=True))
    assert titles == {"常见问题", "值班"}


BACKUPS = [
    ["产品", "全量备份", "保留时间"],
    ["MySQL 用户库", "每天 03:00", "30 天"],
    ["PostgreSQL 分析库", "每天 04:30", "14 天"],
]


def test_a_cell_is_read_with_its_column_and_a_date_is_no_duration(base, conversation):
    Document.objects.filter(title="数据库备份").update(retired_at=timezone.now())
    heading = Block("heading", "备份策略", level=1)
    put(base, "数据库运维手册", heading, Block("table", rows=BACKUPS, header_rows=1))
    changes = "V2.2（2026 年 3 月）：调整数据库备份的保留时间。备份保留到什么时候由数据库组定。"
    put(base, "修订记录", Block("paragraph", changes))
    turn = ask(conversation, "数据库备份保留多久")
    assert turn.outcome == "answered"
    assert "30 天" in turn.reply.text
    assert turn.reply.citations.first().title == "数据库运维手册"

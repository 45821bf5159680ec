"""Topics: what is asked for before anything is looked for, turn by turn, through the runner."""

import time

import pytest
from django.utils import translation

from chat import asking, runner, slots, turns
from chat.models import Collected, Message, Topic, Turn
from chat.topics import demo as topics_demo
from chat.topics import detecting, finding, schema, trial
from chat.topics.replies import plain
from knowledge import demo
from knowledge.models import Document, KnowledgeBase
from tests.chat.fake_model import FakeModel

FIELDS = {
    "product": {
        "title": "数据库类型", "x-ask": "是哪种数据库？", "enum": ["MySQL", "Redis"],
        "x-synonyms": {"Redis": ["缓存"]},
    },
    "version": {"title": "版本", "format": "version", "x-ask": "哪个版本？", "x-search": False},
    "environment": {
        "title": "环境", "enum": ["生产环境", "测试环境"], "x-search": False,
        "x-scope": "environment",
        "x-synonyms": {"生产环境": ["线上", "生产"], "测试环境": ["测试"]},
    },
}  # fmt: skip
REQUIRED = ["product", "version", "environment"]
FAILOVER = "主从切换失败，连不上数据库了，故障转移的超时参数是多少"


@pytest.fixture
def topic(db):
    return Topic.objects.create(
        name="数据库连接失败",
        triggers=["连不上数据库", "数据库 超时"],
        examples=["应用连接数据库失败怎么办"],
        schema={"type": "object", "properties": FIELDS, "required": REQUIRED},
    )


@pytest.fixture
def say(conversation):
    """Says something and gives the turn that came of it."""

    def say(text, **more):
        asking.ask(conversation, text, **more)
        runner.run_waiting()
        return Turn.objects.filter(conversation=conversation).latest("pk")

    return say


@pytest.fixture(autouse=True)
def chinese():
    with translation.override("zh-hans"):
        yield


def told(conversation):
    return dict(slots.collected(conversation))


def test_what_is_missing_is_asked_one_by_one_and_recall_begins_when_all_is_there(
    base, topic, conversation, say
):
    turn = say("缓存的" + FAILOVER)
    assert turn.outcome == Turn.Outcome.CLARIFYING
    assert "哪个版本？" in turn.reply.text
    assert "Redis" in turn.reply.text  # what was understood
    assert turn.reply.data["options"] == ["不清楚"]
    assert "retrieval" not in turn.trace

    turn = say("7.0.12")
    assert turn.reply.data["options"] == ["生产环境", "测试环境", "不清楚"]
    assert turn.trace["slots"] == {"product": "Redis", "version": "7.0.12"}

    turn = say("线上")
    assert turn.outcome == Turn.Outcome.ANSWERED
    assert "180000" in turn.reply.text
    assert turn.trace["query"] == f"缓存的{FAILOVER} Redis"  # the others are not searched for
    assert told(conversation) == {"数据库类型": "Redis", "版本": "7.0.12", "环境": "生产环境"}
    assert not Collected.objects.get().open


def test_a_field_may_be_renamed_while_it_is_asked_for(base, topic, say):
    say("缓存的" + FAILOVER)
    properties = {"release" if name == "version" else name: one for name, one in FIELDS.items()}
    topic.schema = {"type": "object", "properties": properties, "required": list(properties)}
    topic.save()
    turn = say("7.0.12")
    assert turn.outcome == Turn.Outcome.CLARIFYING
    assert turn.trace["slots"]["release"] == "7.0.12"


def test_all_in_one_message_asks_nothing(base, topic, conversation, say):
    turn = say(f"测试环境 Redis 7.0 {FAILOVER}")
    assert turn.outcome == Turn.Outcome.ANSWERED
    assert told(conversation) == {"数据库类型": "Redis", "版本": "7.0", "环境": "测试环境"}


def test_a_correction_counts_while_asked_and_after_the_answer(base, topic, conversation, say):
    say(f"Redis 5.7 {FAILOVER}")
    assert "环境" in say("不对，是 8.0 不是 5.7").reply.text
    assert told(conversation)["版本"] == "8.0"
    say("生产")
    turn = say("说错了，应该是测试环境")
    assert turn.outcome == Turn.Outcome.ANSWERED
    assert "超时参数" in turn.trace["query"]
    assert told(conversation) == {"数据库类型": "Redis", "版本": "8.0", "环境": "测试环境"}


def test_who_does_not_know_is_helped_anyway(base, topic, conversation, say):
    say(f"Redis {FAILOVER}")
    turn = say("版本号我也不知道")
    assert turn.trace["slots"] == {"product": "Redis", "version": ""}
    turn = say("不清楚")
    assert turn.outcome == Turn.Outcome.ANSWERED
    assert turn.reply.text.startswith("没有「版本、环境」的信息")
    assert "180000" in turn.reply.text
    assert told(conversation)["版本"] == "未提供"


@pytest.mark.parametrize("reply", ["别问了，直接告诉我怎么办", "先给个方案吧"])
def test_who_wants_no_more_questions_is_asked_none(base, topic, conversation, say, reply):
    say(FAILOVER)
    assert say(reply).outcome == Turn.Outcome.ANSWERED
    assert set(told(conversation).values()) == {"未提供"}


def test_the_same_is_asked_twice_at_most(base, topic, say):
    say(f"Redis 7.0 {FAILOVER}")
    assert "不知道" in say("就是那个嘛").reply.text
    assert say("那个机房的").outcome == Turn.Outcome.ANSWERED


def test_another_question_starts_anew(base, topic, conversation, say):
    say(FAILOVER)
    turn = say("磁盘使用率超过 90% 怎么办？")
    assert turn.outcome == Turn.Outcome.ANSWERED
    assert "df -h" in turn.reply.text
    assert "topic" not in turn.trace


def test_another_topic_starts_anew_and_may_ask_later(base, topic, conversation, say):
    other = {
        "properties": {"disk": {"title": "磁盘", "enum": ["sda", "sdb"]}},
        "required": ["disk"],
    }
    Topic.objects.create(name="磁盘满", triggers=["磁盘使用率"], schema=other, when="unsure")
    say(FAILOVER)
    turn = say("磁盘使用率超过 90% 时先做什么？")
    assert (turn.trace["topic"], turn.outcome) == ("磁盘满", Turn.Outcome.ANSWERED)
    assert not turn.reply.text.startswith("没有")


def test_a_person_can_be_called_at_any_time(base, topic, conversation, say):
    say(FAILOVER)
    turn = say("转人工")
    assert turn.outcome == Turn.Outcome.HANDOFF
    conversation.refresh_from_db()
    assert conversation.state == conversation.State.QUEUED


def test_a_topic_may_ask_only_where_the_search_is_not_sure(base, topic, say):
    Topic.objects.update(when=Topic.When.UNSURE)
    assert say("Redis 主从切换的故障转移，连不上数据库，超时参数是多少").outcome == "answered"
    turn = say("连不上数据库，紫色的灯一直闪")
    assert turn.outcome == Turn.Outcome.CLARIFYING
    assert "版本" in turn.reply.text


def test_a_topic_of_another_base_asks_nothing(base, topic, say):
    other = type(base).objects.create(slug="other", name="别的")
    topic.knowledge_bases.add(other)
    assert "topic" not in say(FAILOVER).trace
    topic.knowledge_bases.add(base)
    assert say(f"{FAILOVER}？").outcome == Turn.Outcome.CLARIFYING


def test_an_environment_that_documents_name_becomes_the_scope(base, topic, say):
    Document.objects.filter(title="Redis 哨兵").update(environment="测试环境")
    turn = say(f"线上 Redis 7.0 {FAILOVER}")
    assert "scope" not in turn.trace  # no document is of production
    turn = say("改成测试环境")
    assert turn.trace["scope"]["environment"] == "测试环境"
    assert turn.outcome == Turn.Outcome.ANSWERED


def test_a_turn_that_runs_twice_asks_once(base, topic, conversation):
    asking.ask(conversation, FAILOVER)
    turn = turns.claim()
    from chat import graph  # takes seconds to import

    graph.run(turns.load(turn))
    turns.finish(turn, graph.run(turns.load(turn)))
    held = Collected.objects.get()
    assert held.asked == {"product": 1}
    assert Message.objects.filter(role=Message.Role.ASSISTANT).count() == 1


def test_what_was_told_outlives_its_topic(base, topic, conversation, say):
    say(f"Redis 7.0 {FAILOVER}")
    topic.delete()
    assert told(conversation) == {"数据库类型": "Redis", "版本": "7.0"}
    assert say("线上").outcome != ""  # and nothing breaks


class TestWithAModel:
    @pytest.fixture
    def fake(self, settings):
        fake = FakeModel(size=500)
        settings.UNDERSTAND_SECONDS = 30
        settings.BACKENDS = settings.BACKENDS | {
            "llm": {
                "BACKEND": "chat.llms.OpenAIModel",
                "OPTIONS": {
                    "base_url": fake.url, "api_key": "x", "model": "fake", "temperature": 0,
                    "timeout": 20,
                },
            }
        }  # fmt: skip
        yield fake
        fake.close()

    def reading(self, topic, **values):
        return {
            "intent": "question", "mood": "calm", "question": "",
            "values": {f"{topic.pk}.{name}": None for name in FIELDS} | {
                f"{topic.pk}.{name}": value for name, value in values.items()
            },
        }  # fmt: skip

    def test_it_finds_all_that_is_missing_in_one_call(self, base, topic, conversation, say, fake):
        fake.structured = {"understand": self.reading(
            topic, product={"value": "Redis", "words": "那个内存库"}, version="七点零",
            environment={"value": "生产环境", "words": "客户在用的那套"},
        )}  # fmt: skip
        say(f"客户在用的那套，那个内存库，七点零，{FAILOVER}")
        assert told(conversation)["数据库类型"] == "Redis"
        assert told(conversation)["环境"] == "生产环境"
        asked = [one for one in fake.requests if "understand" in str(one.get("response_format"))]
        assert len(asked) == 1

    def test_only_what_stands_in_the_customers_words_counts(
        self, base, topic, conversation, say, fake
    ):
        fake.structured = {"understand": self.reading(
            topic, product={"value": "MySQL", "words": "MySQL"}, version="8.0.1",
            environment={"value": "月球环境", "words": "连不上"},
        )}  # fmt: skip
        turn = say(FAILOVER)
        assert turn.outcome == Turn.Outcome.CLARIFYING
        assert told(conversation) == {}


def test_a_name_answers_what_asks_for_a_text_and_a_short_question_does_not(db):
    made = Topic(pk=-1, name="构建", triggers=["构建失败"], schema={
        "properties": {"x": {"title": "平台", "x-ask": "哪个平台？"}}, "required": ["x"],
    })  # fmt: skip
    answered = trial.play([made], ["构建失败", "Jenkins"])[-1]
    assert (answered.values, answered.query) == ({"x": "Jenkins"}, "构建失败 Jenkins")
    asked = trial.play([made], ["构建失败", "Nginx 怎么重启？"])[-1]
    assert (asked.topic, "Nginx" in asked.query) == ("", True)


def field(**made):
    return schema.fields({"properties": {"x": {"title": "版本", **made}}, "required": ["x"]})


@pytest.mark.parametrize(
    ("made", "text", "value"),
    [
        ({"format": "version"}, "升级到８．０．３２以后", "8.0.32"),
        ({"format": "version"}, "MySQL 在 10.2.3.4:3306", None),
        ({"format": "version"}, "版本是 19c", "19c"),
        ({"format": "version"}, "等了 2.5 秒", None),
        ({"format": "version"}, "v1.28.3-rc1 起", "1.28.3-rc1"),
        ({"format": "error"}, "一直报 ORA-12514，怎么办", "ORA-12514"),
        ({"format": "error"}, "提示连接被拒绝，怎么处理", "连接被拒绝"),
        ({"format": "error"}, "报错了怎么办", None),
        (
            {"format": "error"},
            "Mac上抛出了ValueError: 150001 is not in list这个异常",
            "ValueError: 150001 is not in list",
        ),
        ({"enum": ["生产环境"], "x-synonyms": {"生产环境": ["生产"]}}, "不是生产", None),
        ({"enum": ["test"]}, "contest 平台", None),
        ({"enum": ["SQL", "PostgreSQL"]}, "postgresql 挂了", "PostgreSQL"),
        ({"pattern": r"[A-Z]\d{5}"}, "工号a10086，谢谢", "a10086"),
        ({"pattern": r"[A-Z]\d{5}"}, "单号 XA100867", None),
        ({"type": "number"}, "版本是 3", "3"),
    ],
)
def test_values_are_found_in_what_was_said(made, text, value):
    found = finding.find(field(**made), plain(text)).get("x")
    assert (found.value if found else None) == value


def test_a_pattern_that_takes_too_long_is_refused_and_given_up():
    made = {"type": "object", "properties": {"x": {"title": "编号", "pattern": "(x+x+)+y"}}}
    assert "太长" in schema.problems(made)[0]  # where it is written
    begun = time.monotonic()
    assert finding.find(schema.fields(made), "x" * 2000 + "! y") == {}
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"properties": {}}, "至少"),
        ({"properties": {"a": {"type": "strin"}}}, "type"),
        ({"properties": {"a": {"pattern": "("}}}, "正则"),
        ({"properties": {"a": {"enum": []}}}, "不能为空"),
        ({"properties": {"a": {"enum": ["人工"]}}}, "转人工"),
        ({"properties": {"a": {}}, "required": ["b"]}, "没有这个字段"),
        ({"properties": {"a": {"title": "甲"}, "b": {"title": "甲"}}}, "甲"),
        ({"properties": {"a": {"pattern": r"\d{3}", "examples": ["12"]}}}, "12"),
        ([], "object"),
    ],
)
def test_a_schema_that_cannot_be_used_says_why(made, said):
    assert any(said in problem for problem in schema.problems(made))


def test_the_topic_of_the_demo_is_made_once_and_asks_none_of_its_questions(db):
    base = KnowledgeBase.objects.create(slug=demo.SLUG, name="演示")
    topics_demo.load()
    Topic.objects.update(description="改过")
    topics_demo.load()
    topic = Topic.objects.get()
    assert topic.description == "改过"
    assert list(topic.knowledge_bases.all()) == [base]
    assert schema.problems(topic.schema) == []
    for question in demo.questions():
        assert detecting.detect(plain(question["question"]), [topic]) is None
    assert detecting.detect("我们的数据库连不上了", [topic]) == topic

import pytest

from chat import asking, runner, unseen
from chat.models import Turn
from handoff.models import Handoff

NAMED = [
    ("EMQX 怎么安装", ["EMQX"]),
    ("emqx怎么安装？", ["emqx"]),
    ("怎么安装emqx", ["emqx"]),
    ("如何在 k8s 里部署 RocketMQ", ["RocketMQ"]),
    ("Kafka和EMQX有什么区别", ["Kafka", "EMQX"]),
    ("10.1.2.3 连不上 MySQL", ["MySQL"]),
    ("db-07 的负责人是谁", ["db-07"]),
    ("10.1.2.3 这台机器是干什么的", ["10.1.2.3"]),
    ("《值班守则》第三条是什么", ["值班守则"]),
    ("ＥＭＱＸ怎么安装", ["EMQX"]),
]
NOTHING = [
    "db-07 磁盘满了怎么办",
    "error 怎么处理",
    "连接 timeout 怎么办",
    "kubectl get pods 报错",
    "ORA-01555 怎么处理",
    "zhangsan 的密码怎么重置",
    "zhangsan 无法登录",
    "CrashLoopBackOff 怎么办",
    "NullPointerException 怎么排查",
    "HTTP 状态码 502 的含义",
    "文件 /etc/Foo/Bar.conf 在哪改",
    "报错 “Failed to start Foobar” 怎么处理",
    "执行 `Foobar` 没有反应",
    "参数 innodb_Foo_size 改成多少",
    "硬盘 500GB 够吗",
    "日志里有 failed to connect to Foobar server 怎么办",
    "How do I install EMQX?",
    "磁盘满了",
]


@pytest.mark.parametrize(("question", "names"), NAMED)
def test_what_a_question_names(question, names):
    assert unseen.names(question) == names


@pytest.mark.parametrize("question", NOTHING)
def test_values_messages_and_plain_words_are_no_names(question):
    assert unseen.names(question) == []


def ask(conversation, text):
    asking.ask(conversation, text)
    runner.run_waiting()
    return Turn.objects.select_related("reply").latest("pk")


def test_small_talk_gets_a_button_and_waits_for_nobody(base, conversation):
    turn = ask(conversation, "今天天气怎么样")
    assert turn.outcome == "chat"
    assert turn.reply.data["options"] == ["转人工"]
    assert "policy" not in turn.trace
    assert not Handoff.objects.exists()
    assert ask(conversation, "转人工").outcome == "handoff"


@pytest.mark.parametrize(
    "question",
    ["食堂几点开饭", "打印机卡纸怎么办", "邮件发不出去", "堡壘機忘記密碼", "谁管机房大门钥匙"],
)
def test_whoever_finds_no_answer_gets_a_person(question, base, conversation):
    assert ask(conversation, question).outcome == "handoff"

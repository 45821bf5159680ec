import pytest

from chat import kinds

ASKED = [
    ("Redis 的端口是多少？", "port"),
    ("MySQL 用哪个端口", "port"),
    ("从哪个版本开始支持？", "version"),
    ("which version supports it", "version"),
    ("被拦截的请求的响应状态码是什么？", "code"),
    ("备份保留多久", "duration"),
    ("超时时间是多少秒？", "duration"),
    ("最多可以传多少MB", "bytes"),
    ("最多重试几次", "times"),
    ("变更窗口是星期几", "date"),
    ("下次演练是哪天", "day"),
    ("系统什么时候上线的", "date"),
    ("这个系统的负责人是谁", "person"),
    ("日志在哪个目录", "path"),
    ("用什么命令查看日志", "command"),
    ("要改哪个参数", "parameter"),
    ("热线电话是多少", "phone"),
    ("一共有几台机器", "count"),
    ("磁盘有多大", "number"),
    ("How many replicas are there?", "number"),
    ("一个月多少钱", "money"),
]
NOTHING = [
    "怎么修改端口？",
    "如何升级到新版本",
    "为什么要等多久才知道结果",
    "端口 8080 打不开",
    "磁盘满了",
    "什么时候需要重启",
    "How do I change the port?",
    "两个版本的区别是什么",
    "几乎所有请求都超时",
    "前几天升级的是什么系统",
]
HELD = [
    ("端口是多少", "监听在 6379 上。"),
    ("超时多少秒", "默认 180000 毫秒。"),
    ("多久", "保留十四天"),
    ("多久", "大约要半年"),
    ("哪个版本", "自 v5.4.0 起支持"),
    ("哪天", "2023年6月25日"),
    ("什么时候", "每天 02:30 执行"),
    ("哪个目录", "保存在 /data/backup 目录"),
    ("用什么命令", "执行 `df -h`"),
    ("改哪个参数", "调大 failover-timeout"),
    ("几个节点", "只提供一个节点"),
    ("重试几次", "重试 3 次"),
    ("多少MB", "不超过 512MB"),
    ("误差上限是多少", "可以容忍任意时长的误差"),
]
LACKING = [
    ("端口是多少", "请联系管理员开放端口。"),
    ("超时多少秒", "可以重试 3 次。"),
    ("多久", "1. 打开页面\n2. 点击确定 [1]"),
    ("哪个版本", "新的版本支持。"),
    ("哪个目录", "保存在备份服务器上。"),
    ("2022年的演练是哪一年", "2022年做过演练"),
    ("多少MB", "不超过 3 次"),
]


@pytest.mark.parametrize(("question", "name"), ASKED)
def test_what_a_question_asks_for(question, name):
    kind = kinds.asked(question)
    assert kind
    assert kind.name == name


@pytest.mark.parametrize("question", NOTHING)
def test_how_and_why_ask_for_no_kind_of_thing(question):
    assert kinds.asked(question) is None


@pytest.mark.parametrize(("question", "text"), HELD)
def test_a_text_that_holds_it(question, text):
    assert kinds.asked(question).held(text, question)


@pytest.mark.parametrize(("question", "text"), LACKING)
def test_a_text_that_does_not(question, text):
    assert not kinds.asked(question).held(text, question)


def test_a_bare_noun_is_looked_for_but_not_missed():
    assert not kinds.asked("磁盘使用率").certain
    assert kinds.asked("磁盘使用率是多少").certain

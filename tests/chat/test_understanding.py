import pytest

from chat import understanding

PERSON = [
    "转人工",
    "人工",
    "人工客服",
    "真人",
    "我要转人工",
    "请帮我转人工客服，谢谢",
    "能不能转人工？",
    "转 人工",
    "找客服",
    "我想和真人聊",
    "怎么转人工",
    "麻烦转接人工服务一下",
    "不要机器人，转人工",
    "MySQL 连不上了，给我转人工",
    "数据库挂了。找人工！",
    "ｈｕｍａｎ",
    "I want to talk to a human",
    "human",
    "can i speak to an agent please",
    "connect me to a real person",
    "接人工",
    "联系工程师",
    "我需要人工服务",
    "换人工处理",
]
QUESTIONS = [
    "人工智能平台怎么部署",
    "如何转人工的流程配置",
    "人工客服系统怎么配置转人工的规则？",
    "人工审核流程在哪里开启",
    "怎么在工单系统里把工单转给人工处理组的同事",
    "客服系统的数据库怎么备份",
    "真人认证接口返回 403 怎么办",
    "How do I configure the human approval step in the pipeline?",
    "agent 启动失败怎么处理",
    "node agent not reporting",
    "滚动升级怎么做",
    "滚动日志怎么配置",
    "怎么修改 thanks 接口的超时",
    "你好，请问 Redis 怎么扩容",
    "为什么不能用 root 登录",
    "tmd.conf 配置项说明",
    "操作系统怎么升级",
    "谢谢，那怎么回滚到上一个版本",
    "没用过 Helm，怎么安装应用",
    "投诉工单怎么关闭",
    "垃圾回收怎么调优",
    "错误日志在哪里看",
    "行锁等待超时怎么排查",
    "在 Linux 上如何查看端口占用",
    "好友列表接口报 500",
]
UNHAPPY = [
    "没用",
    "答非所问",
    "根本没解决",
    "你的回答完全不对",
    "不是我想问的",
    "太垃圾了",
    "我要投诉",
    "this is useless",
    "that did not help",
    "回答不对，再看看日志",
    "什么破客服",
]
SMALL = {
    understanding.THANKS: [
        "谢谢",
        "好的，谢谢！",
        "非常感谢",
        "thanks",
        "Thank you very much!",
        "明白了",
        "搞定了，多谢",
    ],
    understanding.GREETING: [
        "你好",
        "您好！",
        "在吗",
        "hello",
        "Hi there",
        "你是谁",
        "早上好",
        "who are you?",
    ],
    understanding.ABUSE: ["傻逼", "滚", "fuck you", "你是傻逼吗"],
}


@pytest.mark.parametrize("text", PERSON)
def test_a_person_is_called(text):
    assert understanding.intent(text) == understanding.PERSON


@pytest.mark.parametrize("text", QUESTIONS)
def test_a_question_stays_a_question(text):
    assert understanding.intent(text, answered=True) == ""
    assert not understanding.vague(text, [])


@pytest.mark.parametrize("text", UNHAPPY)
def test_unhappiness_is_heard(text):
    assert understanding.intent(text) == understanding.UNHAPPY


@pytest.mark.parametrize(("wanted", "text"), [(k, t) for k, ts in SMALL.items() for t in ts])
def test_small_talk(wanted, text):
    assert understanding.intent(text) == wanted


@pytest.mark.parametrize("text", ["还是不行", "试过了，没用", "还是报错", "still not working"])
def test_not_working_is_a_complaint_only_after_an_answer(text):
    assert understanding.intent(text, answered=True) == understanding.UNHAPPY


@pytest.mark.parametrize("text", ["还是不行", "不行", "still not working"])
def test_not_working_before_an_answer_says_too_little(text):
    assert understanding.intent(text) == ""
    assert understanding.vague(text, [])


@pytest.mark.parametrize(
    "text",
    [
        "怎么办",
        "报错了",
        "报错了怎么办？",
        "不行",
        "系统出问题了",
        "出现问题",
        "Redis",
        "kubernetes?",
        "你好，报错了",
        "help",
        "it doesn't work",
        "有个问题想咨询",
        "救命！",
        "打不开",
        "服务起不来了怎么办",
        "？？？",
        "支付平台",
    ],
)
def test_too_little_is_said(text):
    assert understanding.vague(text, ["支付平台"])


@pytest.mark.parametrize(
    "text",
    [
        "ORA-01555",
        "502",
        "0x80070005",
        "CrashLoopBackOff 怎么办",
        "磁盘满了",
        "退款",
        "端口 8080 打不开",
    ],
)
def test_what_names_a_thing_is_enough(text):
    assert not understanding.vague(text, ["支付平台"])


def test_a_bare_product_is_known_when_asked_back():
    assert understanding.missing("Redis") == ["error", "done"]
    assert understanding.missing("报错了") == ["product", "error", "done"]


@pytest.mark.parametrize(
    "text",
    [
        "那第二步呢",
        "它的端口是多少",
        "为什么",
        "第三步怎么做？",
        "然后呢",
        "具体怎么操作",
        "what about Windows?",
        "还有别的办法吗",
    ],
)
def test_a_follow_up_leans_on_what_came_before(text):
    assert understanding.follows(text)


@pytest.mark.parametrize(
    "text",
    [
        "Redis 怎么扩容",
        "如何查看 pod 日志",
        "为什么 MySQL 主从延迟越来越大",
        "其他部门的同事没有权限访问监控大盘应该找谁申请开通",
    ],
)
def test_a_whole_question_stands_alone(text):
    assert not understanding.follows(text)

"""Logs as they are pasted: the words around them, and the lines that tell."""

import time

import pytest

from chat import graph, pasting
from knowledge.parsing.document import Block
from tests.chat.conftest import put

JAVA = """帮我看下这个报错
2024-05-01 10:00:00,123 INFO  [main] c.e.App - starting on web-17
2024-05-01 10:00:03,456 ERROR [http-nio-8080-exec-1] c.e.pay.PayService - pay failed
org.springframework.jdbc.CannotGetJdbcConnectionException: Failed to obtain JDBC Connection
\tat org.springframework.jdbc.datasource.DataSourceUtils.getConnection(DataSourceUtils.java:82)
Caused by: com.mysql.cj.jdbc.exceptions.CommunicationsException: Communications link failure
\tat com.mysql.cj.jdbc.exceptions.SQLError.create(SQLError.java:174)
\t... 52 more
怎么解决？"""
# A log of each kind, and what the passage that helps is called.
LOGS = {
    "连接池": JAVA,
    "表空间": "2024-03-02T11:20:01.123456+08:00 dbhost01 oracle[2213]: Thread 1 cannot allocate\n"
    "2024-03-02T11:20:02.523456+08:00 dbhost01 oracle[2213]: ORA-01653: unable to extend table"
    " APP.ORDERS by 128 in tablespace USERS",
    "内存溢出": "May 12 10:02:11 web01 kernel: [123456.789] java invoked oom-killer: mask=0\n"
    "May 12 10:02:11 web01 kernel: [123456.790] Out of memory: Killed process 2314 (java)",
    "镜像拉取": "E0512 10:11:12.123456    2210 pod_workers.go:191] Error syncing pod "
    "8f14e45f-ceea-167a-5a36-dedd4bea2543: failed to pull image: ImagePullBackOff: unauthorized",
    "磁盘只读": '{"level":"info","ts":1700000001,"msg":"flush"}\n'
    '{"level":"error","ts":1700000002,"msg":"open /data/wal: read-only file system"}',
    "证书过期": "2024/05/12 10:00:00 [warn] 31#31: *1 upstream slow\n"
    "2024/05/12 10:00:01 [error] 31#31: *2 SSL_do_handshake() failed (certificate has expired)"
    " while SSL handshaking, client: 10.1.2.3",
}  # fmt: skip
HELP = {
    "连接池": "日志里有 Communications link failure 时，检查数据库地址、防火墙和连接池上限。",
    "表空间": "出现 ORA-01653 说明表空间不够，为 USERS 表空间增加数据文件后恢复写入。",
    "内存溢出": "日志里有 Out of memory: Killed process 时，进程被系统结束，调小堆内存。",
    "镜像拉取": "Pod 处于 ImagePullBackOff 时，检查镜像名和仓库的登录凭据 imagePullSecrets。",
    "磁盘只读": "提示 read-only file system 时磁盘被重新挂载为只读，检查硬件后重新挂载。",
    "证书过期": "握手时报 certificate has expired，为网关换上新证书并重新加载。",
}


def test_the_words_are_told_from_the_log_and_the_lines_that_tell_are_picked():
    pasted = pasting.read(JAVA)
    assert pasted.question == "帮我看下这个报错\n怎么解决？"
    said = pasting.telling(pasted.log)
    assert "CommunicationsException: Communications link failure" in said
    assert not any("2024" in line or "web-17" in line or "52 more" in line for line in said)


@pytest.mark.parametrize(
    "text",
    [
        "Redis 主从切换后连不上怎么办",
        "第一步：停服务\n第二步：改配置\n第三步：重启，对吗？",
        "ERROR 是什么意思\nWARN 又是什么意思",
        "",
    ],
)
def test_a_question_is_no_log(text):
    pasted = pasting.read(text)
    assert (pasted.words, pasted.log) == (text, "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ERROR 1045 (28000): Access denied for user 'root'", "ERROR 1045 (28000): Access"),
        ("2024-01-01T10:00:00.1Z 0 [ERROR] [MY-012574] [InnoDB] Unable", "[MY-012574] [InnoDB]"),
        ("E0512 10:11:12.1    1 reflector.go:138] Failed to watch *v1.Pod", "Failed to watch"),
        ('{"level":"error","ts":1,"msg":"dial tcp 10.0.0.1:2379: i/o timeout"}', "dial tcp :2379"),
    ],
)
def test_a_line_is_said_without_when_and_where(line, said):
    assert pasting.bare(line).startswith(said)


def test_a_long_log_is_shortened_to_what_is_still_a_log_of_the_same_lines():
    filler = "\n".join(
        f"2024-05-01 10:00:00,{n:03} INFO [main] c.e.App - tick {n}" for n in range(90)
    )
    short = pasting.shortened(f"怎么办？\n{filler}\n{LOGS['表空间']}", 2000)
    assert len(short) <= 2000
    assert short.startswith("怎么办？")
    assert any("ORA-01653" in line for line in pasting.telling(pasting.read(short).log))


@pytest.mark.parametrize("text", ["a" * 64_000, "[" * 64_000, "1 " * 32_000, '{"msg":' * 9_000])
def test_a_strange_log_takes_no_time(text):
    started = time.thread_time()
    pasting.telling(pasting.read(f"2024-05-01 10:00:00 ERROR {text}\n{text}").log)
    assert time.thread_time() - started < 2


def test_pasted_logs_find_the_passages_that_help(base):
    for title, text in HELP.items():
        put(base, title, Block("paragraph", text))
    given = {title: graph.answer_question(log, [base]) for title, log in LOGS.items()}
    assert {title: [one["title"] for one in it.citations] for title, it in given.items()} == {
        title: [title] for title in LOGS
    }


def test_a_log_of_something_unknown_calls_a_person(base):
    log = "2024-05-01 10:00:00 ERROR Flux capacitor drained\n2024-05-01 10:00:01 ERROR giving up"
    assert graph.answer_question(log, [base]).outcome == "handoff"


def test_a_bare_code_names_an_error():
    faq = "Redis 报 READONLY 不能写入怎么办？\n写到了从节点，通常发生在主从切换之后。"
    jedis = "JedisDataException: READONLY You can't write against a read only replica."
    assert pasting.names(faq, jedis)
    assert pasting.names(faq, "READONLY You can't write against a read only replica.")
    assert pasting.names("集群报 OOM 时扩容", "ResponseError: OOM command not allowed")
    assert not pasting.names("CLASSROOM 的 OOMKiller", "ResponseError: OOM command not allowed")


@pytest.mark.parametrize(
    "word", ["ERROR", "WARN", "INFO", "FATAL", "HTTP", "SQL", "NULL", "GET", "POST", "SELECT"]
)
def test_a_common_word_is_no_code(word):
    assert not pasting.names(f"{word} 的说明", f"DataError: {word} went wrong")
    assert not pasting.names(f"{word} 的说明", f"{word} went wrong")


def test_a_log_with_a_bare_code_is_answered(base):
    text = "Redis 报 READONLY 不能写入：写到了从节点，重启应用连接池即可重新发现主节点。"
    put(base, "缓存", Block("paragraph", text))
    log = (
        "2024-05-01 10:00:00 ERROR [exec-3] c.e.CartService - save failed\n"
        "redis.clients.jedis.exceptions.JedisDataException: READONLY You can't write against a"
        " read only replica."
    )
    assert graph.answer_question(log, [base]).outcome == "answered"

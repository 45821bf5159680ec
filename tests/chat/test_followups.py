import io
import json

import pytest
from django.core.management import CommandError, call_command

from chat import followups


@pytest.mark.parametrize(
    ("earlier", "question", "complete"),
    [
        ("Redis 怎么重启", "那 Nginx 呢", "Nginx 怎么重启"),
        ("生产环境的数据库密码在哪里看", "测试环境呢", "测试环境的数据库密码在哪里看"),
        ("腾讯云怎么开安全组", "如果是阿里云呢？", "阿里云怎么开安全组"),
        ("怎么申请 VPN 账号", "那堡垒机呢", "怎么申请 堡垒机 账号"),
        ("Redis 怎么重启", "那日志呢", "Redis 怎么重启 那日志呢"),
        ("Redis 怎么装", "那第二步呢", "Redis 怎么装 那第二步呢"),
        ("Redis 怎么重启", "它的端口是多少", "Redis的端口是多少"),
        ("Redis 怎么重启", "那个怎么装", "Redis怎么装"),
        (
            "kubectl apply 报 ImagePullBackOff",
            "这个报错怎么处理",
            "kubectl apply 报 ImagePullBackOff怎么处理",
        ),
        ("怎么扩容磁盘", "那第二步呢", "怎么扩容磁盘 那第二步呢"),
        ("MySQL 主从复制延迟很高怎么办", "为什么", "MySQL 主从复制延迟很高怎么办 为什么"),
        ("Redis 怎么重启", "怎么登录", "Redis怎么登录"),
        (
            "How do I restart Redis?",
            "what about Kafka?",
            "How do I restart Redis? what about Kafka?",
        ),
    ],
)
def test_what_is_left_out_is_carried_over(earlier, question, complete):
    assert followups.complete(question, [earlier]) == complete


@pytest.mark.parametrize(
    "question",
    [
        "MySQL 怎么备份",
        "如何申请堡垒机权限",
        "其他部门怎么申请",
        "吉他谱在哪里下载",
        "这个月的账单在哪里看",
        "权限申请",
        "VPN 申请",
        "137",
        "ORA-01555",
    ],
)
def test_a_complete_question_stays_as_it_is(question):
    assert followups.complete(question, ["Redis 怎么重启"]) == question
    assert followups.query(question, "Redis 怎么重启") == question


def test_nothing_was_said_before():
    assert followups.complete("它的端口是多少", []) == "它的端口是多少"


def test_no_word_is_lost_where_nothing_takes_its_place():
    before = "磁盘使用率超过 80% 怎么扩容"
    assert followups.query("需要停机吗", before) == f"{before} 需要停机吗"
    assert followups.query("那 inode 呢", before) == f"{before} 那 inode 呢"


def test_the_benchmark_counts_letters(tmp_path):
    file = tmp_path / "dialogues.jsonl"
    row = {
        "history": ["Redis 怎么重启"],
        "follow_up": "它的端口呢",
        "complete_question": "Redis的端口呢",
    }
    file.write_text(json.dumps(row, ensure_ascii=False), "utf-8")
    out = io.StringIO()
    call_command("bench_followups", str(file), stdout=out)
    lines = {line.split(" | ")[0]: line for line in out.getvalue().splitlines()}
    assert "1.000 | 1.000 | 1.000 | 1.000" in lines["| completed"]
    assert lines["| left as it is"].startswith("| left as it is | 0.000 | 1.000 | 0.000")
    with pytest.raises(CommandError):
        call_command("bench_followups", str(tmp_path / "none"))
    file.write_text("", "utf-8")
    with pytest.raises(CommandError):
        call_command("bench_followups", str(file))

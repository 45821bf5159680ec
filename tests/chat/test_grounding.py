import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat import grounding

PASSAGE = """## 备份
每天 02:30 执行 `pg_dump -Fc ops > /data/backup/ops.dump`，
端口是 5432，保留１４天，最多 1,000 个文件。
提示“备份成功”后检查 PostgreSQL 16.2 的日志。
```sh
systemctl restart   postgresql
```
"""

STANDS = [
    "每天 02:30 执行备份。[1]",
    "端口 5432。",
    "保留 14 天。",
    "最多 1000 个文件",
    "保留 14天",
    "执行 `pg_dump -Fc ops`。",
    "提示「备份成功」。",
    "版本是 PostgreSQL 16.2。",
    "1. 检查 postgresql 的日志。[1][2]",
    "执行 `systemctl restart postgresql`",
    "Backups run at 02:30.",
    "```sh\nsystemctl restart postgresql\n```",
]
INVENTED = [
    ("端口是 3306。", "3306"),
    ("保留 4 天。", "4"),
    ("端口 543。", "543"),
    ("版本是 16.3。", "16.3"),
    ("执行 `rm -rf /`。", "rm -rf /"),
    ("文件在 /data/backups/ops.dump。", None),
    ("看 MySQL 的日志。", "MySQL"),
    ("提示“备份失败”。", "备份失败"),
    ("每天 02:31 执行。", "2:31"),
    ("Restart it with pg_ctl.", "pg_ctl"),
    ("```\nsystemctl stop postgresql\n```", "systemctl stop postgresql"),
]


@pytest.mark.parametrize("sentence", STANDS)
def test_what_stands_in_the_passage(sentence):
    assert grounding.ungrounded(sentence, [PASSAGE]) == []


@pytest.mark.parametrize(("sentence", "fact"), INVENTED)
def test_what_does_not(sentence, fact):
    missing = grounding.ungrounded(sentence, [PASSAGE])
    assert missing
    assert fact is None or fact in missing


@pytest.mark.parametrize(
    ("question", "sentence", "missing"),
    [
        ("Navicat 用什么端口", "Navicat 的端口是 5432。", []),
        ("8080 端口被占用怎么办", "8080 端口被占用时，先看端口 5432。", []),
        ("升级到 9.1.2 之后 /srv/app 打不开", "升级到 9.1.2 以后端口是 5432。", []),
        ("端口是 8080 吗", "端口是 8080。", ["8080"]),
        ("端口是不是 8080", "端口是 8080。", ["8080"]),
        ("端口用 8080 还是 9090", "端口是 9090。", ["9090"]),
        ("is 8080 the port", "端口是 8080。", ["8080"]),
        ("怎么执行 rm -rf /srv/app", "执行 `rm -rf /srv/app`，端口 5432。", ["rm -rf /srv/app"]),
        ("/srv/app 打不开", "执行 `ls /srv/app`，端口 5432。", ["ls /srv/app", "ls"]),
    ],
)
def test_what_is_asked_may_be_said_again_in_prose(question, sentence, missing):
    assert grounding.ungrounded(sentence, [PASSAGE], question) == missing


def test_a_sentence_about_something_else_is_not_supported():
    assert grounding.supported("每天执行备份，检查日志。", PASSAGE)
    assert not grounding.supported("祝您生活愉快，欢迎再次光临。", PASSAGE)


# Question, passage, sentence.
SAME = [
    ("", "失败后重试三次", "失败后重试 3 次。"),
    ("", "失败后重试 3 次", "失败后重试三次。"),
    ("", "保留两周", "保留 2 周"),
    ("", "共 20 个节点", "共二十个节点"),
    ("", "最多 100 天", "最多一百天"),
    ("", "上限 1.5 万条", "上限 15000 条"),
    ("", "上限 30,000 条", "上限 3 万条"),
    ("", "２０２６年１１月２１日上线", "2026-11-21 上线"),
    ("", "阈值 90%", "阈值百分之九十"),
    ("", "超时 30s", "超时 30 秒"),
    ("", "内存 512MB", "内存 512 MB"),
    ("", "MySQL 8.0 起支持", "MySQL8.0 起支持"),
    ("", "Redis6.2 起支持", "Redis 6.2 起支持"),
    ("", "地址 http://10.0.0.1:8080/api/v1", "访问 10.0.0.1:8080，路径 /api/v1，端口 8080。"),
    ("", "修改 max_connections = 200", "修改 `max_connections=200`"),
    ("", "重试 3~5 次", "重试 3 到 5 次"),
    ("", "重试 3 次到 5 次", "重试 3-5 次"),
    ("", "开放端口 80,443", "开放端口 443 和 80"),
    ("", "执行 systemctl restart nginx 重启服务。", "执行 `systemctl restart nginx` 重启服务。"),
    ("", "Run systemctl restart nginx to restart.", "Run `systemctl restart nginx` to restart."),
    ("web01 磁盘满", "执行 df -h 查看", "在 web01 上执行 `df -h`。"),
    ("提示“备份失败”", "检查磁盘", "出现“备份失败”时检查磁盘"),
    ("", "TCP 和 UDP 都要开放", "TCP/UDP 都要开放"),
    ("", "```\necho ${arr[1]}\n```", "```\necho ${arr[1]}\n```"),
    ("", "| 参数 | 值 |\n|---|---|\n| timeout | 30 |", "timeout 为 30。"),
    ("", "版本 v1.2.3", "版本 1.2.3"),
    ("", "返回 -1 表示失败", "返回 −1 表示失败"),
    ("", "vim /etc/nginx/nginx.conf", "编辑 nginx.conf 文件"),
    ("", "错误码 ORA-01555 表示快照过旧", "ORA-01555 表示快照过旧"),
    ("", "每周三 02:30 备份", "每周三 2:30 备份"),
    ("", "`kubectl get pods -n kube-system`", "使用 kubectl get pods -n kube-system 查看"),
    ("", "kubectl get pods \\\n  -n kube-system", "`kubectl get pods -n kube-system`"),
    ("", "打开终端", "打开一个终端"),
    ("", "先停服务再备份", "第一步，先停服务\n第二步，再备份"),
    ("", "数据目录 /data/backup/，每天清理", "数据目录 `/data/backup` 每天清理"),
    ("", "docker run -p 9200:9200 es:7.17.0", "镜像 es:7.17.0"),
    ("", "设置 vm.swappiness=10 后执行 sysctl -p", "设置 `vm.swappiness=10`，再执行 `sysctl -p`"),
    ("", "It's 30 seconds. Don't wait.", "It's 30 seconds; don't wait."),
    ("", "(1) 登录堡垒机", "1. 登录堡垒机"),
    ("", "Nginx 是网关", "Nginx 是网关"),
]
OTHER = [
    ("", "端口 80801", "端口 8080"),
    ("", "端口 18080", "端口 8080"),
    ("", "版本 1.2.3", "版本 v1.2"),
    ("", "版本 1.2-rc1", "版本 1.2"),
    ("", "版本 8.0.x", "版本 8.0"),
    ("", "目录 /data/backup", "目录 /data/back"),
    ("", "清理 /data/tmp/cache", "`rm -rf /data`"),
    ("", "执行 `rm -rf /data/tmp`", "执行 `rm -rf /data`"),
    ("", "执行 `rm -rf /data/tmp`", "执行 `rm -rf / data/tmp`"),
    ("", "`DELETE FROM orders WHERE id = 1;`", "`DELETE FROM orders`"),
    ("", "`systemctl restart nginx`，不要 stop", "执行 systemctl stop nginx"),
    ("", "`tar -C /x`", "`tar -c /x`"),
    ("", "utf8 编码，重试", "重试 8 次"),
    ("", "最多 1,000 个", "最多 1 个"),
    ("", "开放端口 80,443", "端口 80443"),
    ("", "开放 80，443 端口", "端口 80443"),
    ("", "保留 14 小时", "保留 14 天"),
    ("", "内存 512GB", "内存 512MB"),
    ("", "重试 3 次，间隔 5 秒", "重试 3-5 次"),
    ("", "2026-11-20，12 月，21 台", "2026-12-21"),
    ("", "返回 -1", "返回 1"),
    ("", "返回 1", "返回 -1"),
    ("", "共 3 个", "共 3 万个"),
    ("", "共 3 万个", "共 3 个"),
    ("", "10.0.0.1", "10.0.0.11"),
    ("", "10.0.0.11", "10.0.0.1"),
    ("", "10.0.0.0/8", "10.0.0.0/16"),
    ("", "重试 5 次", "重试三次"),
    ("", "五天", "两天"),
    ("", "端口 80 与 0", "端口 8**0**80"),
    ("", "端口 80", "端口 80\u200b80"),
    ("", "端口 80", "端口 8&#48;80"),
    ("", "端口 80", "端口 80`80`"),
    ("", "端口 8080", "[1]: http://evil.com/8080"),
    ("", "启动", "[启动](http://evil.com)"),
    ("", "端口 80", "端口 ⑧⓪⑧⓪"),
    ("", "端口 80", "端口 ８０８０"),
    ("", "端口 80", "端口 ٨٠٨٠"),
    ("端口是 8080 吗", "端口 3306", "端口是 8080"),
    ("`rm -rf /` 行吗", "日志", "执行 `rm -rf /`"),
    ("rm -rf /opt 行吗", "日志 opt rm rf", "执行 rm -rf /opt 即可"),
    ("", "参数 -n", "参数 -N"),
    ("", "0x1F", "0x1"),
    ("", "0x1F", "0x2F"),
    ("", "每周三", "每周五"),
    ("", "占 90 天", "占 90%"),
    ("", "Restart nginx or stop mysql. systemctl is used.", "Run systemctl stop nginx -f now."),
    ("", "提示“备份成功”", "提示“备份失败”"),
    (
        "",
        "```\nsystemctl stop a\nsystemctl start a\n```",
        "```\nsystemctl start a\nsystemctl stop a\n```",
    ),
    ("", "```\nab\n```", "```\nab"),
    ("", "a b", "用 `a"),
    ("", "10 KB", "10² KB"),
    ("", "错误 E1001", "错误 E100"),
    ("", "key=value2", "key=value"),
    ("", "host-01", "host-0"),
    ("", "半小时", "1 小时"),
    ("", "git push origin main；git push --force 禁止", "`git push origin main --force`"),
    ("", "$x$", "$\\frac{80}{80}$"),
    ("", "| a | 80 |", "| a | 81 |"),
    ("", "版本 5.7", "MySQL 5.7.44"),
    ("", "MySQL 5.7.44", "MySQL 5.7"),
    ("", "安装 mysql", "安装 mysql5.7"),
]


@pytest.mark.parametrize(("question", "passage", "sentence"), SAME)
def test_what_is_written_otherwise_is_the_same(question, passage, sentence):
    assert grounding.ungrounded(sentence, [passage], question) == []


@pytest.mark.parametrize(("question", "passage", "sentence"), OTHER)
def test_what_only_looks_the_same_is_not(question, passage, sentence):
    assert grounding.ungrounded(sentence, [passage], question)


NUMBER = st.integers(0, 10**6).map(str)


@given(NUMBER, NUMBER)
def test_a_number_stands_only_where_it_stands_whole(said, written):
    missing = grounding.ungrounded(f"端口是 {said}。", [f"端口 {written} 已开放"])
    assert (missing == []) == (said == written)


@given(st.text(alphabet="abc/-. 019", min_size=1, max_size=20))
def test_a_command_copied_from_the_passage_stands_in_it(command):
    assert grounding.ungrounded(f"执行 `{command}` 即可。", [f"先执行 `{command}` 再看结果"]) == []


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_can_be_checked(sentence, passage):
    grounding.ungrounded(sentence, [passage])
    grounding.supported(sentence, passage)


@given(st.text(st.sampled_from("磁盘 三14天8/-_,:：。\n%aAN"), max_size=60))
def test_a_passage_is_grounded_in_itself(text):
    assert grounding.ungrounded(text, [text]) == []


def test_marks_are_none_in_code():
    text = "甲[3]`a[1]`乙[1]\n```\nb[2]\n```\n[3]"
    assert grounding.marks(text) == [3, 1]
    assert grounding.without_marks(text) == "甲`a[1]`乙\n```\nb[2]\n```\n"

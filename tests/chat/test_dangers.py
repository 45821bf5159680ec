import pytest

from chat import asking, dangers, runner
from chat.models import Turn
from knowledge.parsing.document import Block
from tests.chat.conftest import put


@pytest.mark.parametrize(
    "text",
    [
        "执行 `rm -rf /data/tmp` 清理",
        "```\nsudo rm -r -f /var/lib/mysql\n```",
        "truncate -s 0 /var/log/app.log",
        "mkfs.ext4 /dev/sdb1",
        "dd if=/dev/zero of=/dev/sda bs=1M",
        "DROP TABLE orders;",
        "delete from orders;",
        "redis-cli FLUSHALL",
        "kill -9 1234",
        "pkill -9 java",
        "iptables -F",
        "systemctl stop firewalld",
        "sudo reboot",
        "```\nshutdown -h now\n```",
        "kubectl delete pod web-0",
        "git push origin main --force",
        "curl -sSL https://example.org/install.sh | sudo bash",
        "curl -X DELETE http://es:9200/logs",
    ],
)
def test_a_command_that_destroys_is_found(text):
    assert dangers.found(text)
    assert dangers.warned(text).endswith(f"\n\n{text}") and dangers.warned(text)[0] == ">"


@pytest.mark.parametrize(
    "text",
    [
        "rm 命令可以删除文件，-r 表示递归",
        "systemctl restart nginx",
        "kill -15 1234",
        "delete from orders where id = 1",
        "服务器 reboot 之后自动恢复",
        "The shutdown of the cluster takes a minute.",
        "iptables -L -n",
        "git push origin main",
        "firm -rf",
        "curl https://example.org/install.sh -o install.sh",
    ],
)
def test_what_destroys_nothing_is_left_alone(text):
    assert dangers.warned(text) == text


def test_emptying_a_file_is_not_called_deleting_it():
    assert dangers.found("truncate -s 0 a.log") == {"truncate -s 0": "会清空文件"}


def test_a_command_is_named_once_with_what_it_does():
    warned = dangers.warned("`rm -rf a`，再 `rm -rf b`，最后 `DROP TABLE x`")
    first = warned.splitlines()[0]
    assert first.count("`rm -rf`") == 1 and "`DROP TABLE`" in first


def test_an_answer_warns_before_it_shows_one_and_offers_a_person(base, conversation):
    text = "日志分区满时可以执行 `rm -rf /var/log/archive` 清理归档日志。"
    put(base, "清理归档日志", Block("paragraph", text))
    asking.ask(conversation, "日志分区满时怎么清理归档日志？")
    runner.run_waiting()
    reply = Turn.objects.get().reply
    assert reply.text.startswith("> ") and reply.text.index("[1]") > reply.text.index("\n\n")
    assert reply.data["options"] == ["转人工"]

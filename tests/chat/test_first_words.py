"""How long a customer waited for the first sentence is kept."""

import pytest

from chat import asking, runner
from tests.chat.test_answers import sentences

pytestmark = pytest.mark.django_db


def test_the_wait_for_the_first_sentence_is_kept(base, conversation, configured):
    configured.script = [
        sentences(("备份文件保存在 `/data/backup` 目录。", [1]), ("保留 14 天。", [1]))
    ]
    _message, turn = asking.ask(conversation, "数据库备份文件放在哪里，保留几天？")
    runner.run_waiting()
    turn.refresh_from_db()
    whole = (turn.finished_at - turn.message.created_at).total_seconds() * 1000
    assert turn.outcome == "answered"
    assert 0 < turn.trace["first_ms"] <= whole

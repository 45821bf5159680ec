import io
import os
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from chat import reading
from evaluation import intents

DATA = Path(os.environ.get("OPSDESK_DATA", "/nonexistent"))
SETS = ("ops", "ops_manual", "reading")
QUESTIONS = [DATA / "sets" / name / "questions.jsonl" for name in SETS] + [
    DATA / "injections" / "benign_hard_negatives.jsonl"
]


def test_what_messages_want_is_told_by_the_rules():
    messages = intents.read(intents.DATA / "held.jsonl")
    for name, precision, recall in intents.scores(intents.confusion(messages), intents.INTENTS):
        assert recall >= 0.88, name
        assert precision >= (0.9 if name in (reading.QUESTION, "chat") else 0.99), name


@pytest.mark.skipif(not DATA.is_dir(), reason="OPSDESK_DATA is not set: 4 sets not asked")
@pytest.mark.parametrize("file", QUESTIONS, ids=str)
def test_real_questions_stay_questions(file):
    assert intents.taken_for_others(intents.questions(file), answered=True) == []


def test_the_command_prints_what_was_taken_for_what(tmp_path):
    labelled, asked = tmp_path / "labelled.jsonl", tmp_path / "asked.jsonl"
    labelled.write_text(
        '{"text": "转人工", "intent": "person"}\n'
        '{"text": "Redis 怎么重启", "intent": "unhappy", "mood": "upset"}\n'
    )
    asked.write_text('{"question": "谢谢"}\n{"title": "磁盘满了怎么办"}\n')
    out = io.StringIO()
    call_command("bench_intents", str(labelled), questions=[asked], wrong=True, stdout=out)
    said = out.getvalue()
    assert "| person | 0 | 0 | 0 | 0 | 1 | 0 | 1.000 | 1.000 |" in said
    assert "unhappy → question: Redis 怎么重启" in said
    assert "1 / 2 (0.5000)" in said
    assert "thanks: 谢谢" in said
    with pytest.raises(CommandError):
        call_command("bench_intents", str(tmp_path / "none"))

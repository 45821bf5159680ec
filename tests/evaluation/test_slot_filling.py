import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

pytestmark = pytest.mark.django_db


def bench(*args, **options):
    out = StringIO()
    call_command("bench_slots", *args, stdout=out, **options)
    return out.getvalue().splitlines()


@pytest.fixture
def write(tmp_path, settings):
    settings.UNDERSTAND_SECONDS = 0  # the command sets it for its own process

    def write(*rows):
        file = tmp_path / "some.jsonl"
        file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
        return file

    return write


def test_what_is_found_and_asked_is_counted(write):
    file = write({"id": "a", "turns": [
        {"say": "MySQL 连不上", "topic": "数据库连接失败", "values": {"product": "MySQL"}},
        {"say": "8.0", "values": {"product": "Oracle", "version": "8.0", "error": "E1"}},
    ]})  # fmt: skip
    lines = bench(file, misses=True)
    assert "| some | 2 | 1.000 | 0.667 | 0.500 | 2.00 |" in lines
    assert "  a '8.0': product 'MySQL', not 'Oracle'" in lines


def test_our_dialogues_stay_as_good_as_told(settings):
    settings.UNDERSTAND_SECONDS = 0
    rows = [line.split(" | ") for line in bench()[2:]]
    for name, messages, topic, precision, recall, _asked in rows:
        assert int(messages) >= 45, name
        assert float(topic) > 0.9
        assert float(precision) > 0.95
        assert float(recall) > 0.85


def test_issues_are_asked_back_by_a_topic_only(write):
    lines = bench(issues=write({"title": "运行报错怎么办"}, {"title": "怎么部署？"}))
    assert "| no topic | 0 | 0 | 0 | 2 | 0 |" in lines
    assert "| a topic for them | 1 | 1 | 0 | 1 | 0 |" in lines


def test_a_file_that_cannot_be_read_is_told(write):
    with pytest.raises(CommandError):
        bench(write({"id": "a"}))

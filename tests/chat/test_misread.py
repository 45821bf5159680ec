from chat import asking, runner
from chat.models import Turn
from knowledge import vocabulary


def test_an_answer_says_what_was_read_otherwise(base, conversation):
    vocabulary.catch_up(base.pk)
    asking.ask(conversation, "磁盘使用率超过 90% 怎么找出大的日至？")
    runner.run_waiting()
    turn = Turn.objects.get()
    assert turn.outcome == "answered"
    assert turn.trace["mended"] == [["日至", "日志"]]
    assert turn.trace["query"].endswith("日至？")
    first, _, rest = turn.reply.text.partition("\n\n")
    assert "日至" in first
    assert "日志" in first
    assert "du -sh /var/log/*" in rest
    assert "日至" not in rest


def test_an_answer_to_what_is_written_well_says_nothing(base, conversation):
    vocabulary.catch_up(base.pk)
    asking.ask(conversation, "磁盘使用率超过 90% 怎么找出大的日志？")
    runner.run_waiting()
    turn = Turn.objects.get()
    assert "mended" not in turn.trace
    assert "“" not in turn.reply.text

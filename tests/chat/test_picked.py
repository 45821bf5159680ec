"""What comes of a choice: the document that was picked answers; what is offered warns like an
answer does, and counts as none.
"""

from dataclasses import replace
from datetime import timedelta
from itertools import chain

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.db.models import Value
from django.db.models.functions import Concat
from django.utils import timezone
from django.utils.module_loading import import_string

from chat import ambiguity, asking, graph, offering, panels, presenting, runner
from chat.models import Conversation, Message, Turn
from chat.tools.base import Context
from chat.tools.builtin import ExportPdf
from knowledge import retrieval, tasks, uploading, vocabulary
from knowledge.models import Attachment, Chunk, Document, KnowledgeBase
from knowledge.parsing.document import Block
from tests.chat.conftest import PLACES, QUESTION, put, put_all
from tests.chat.test_offering import ask, checks

BETTER = "堡垒机密码过期后怎么处理：堡垒机密码过期后处理，联系新 {} 组。"


def said(name):
    return Block("paragraph", f"堡垒机密码过期后处理：联系{name}负责人重置。")


@pytest.fixture
def places(base):
    return put_all(base, *((f"{name}手册", [said(name)], "") for name in PLACES))


@pytest.fixture(autouse=True)
def hasty(settings):
    """Reading waits for nobody."""
    settings.BUSY = []


@pytest.fixture
def picked(places, conversation):
    """The one of the places that is going to be picked."""
    label = ask(conversation, QUESTION).reply.data["options"][1]
    return Document.objects.get(title=label)


def answers_alone(document, turn):
    assert turn.outcome == "answered"
    assert checks(turn) == [("ambiguity", "chosen", "passage")]
    assert turn.reply.citations.get().document == document
    assert document.title.removesuffix("手册") in turn.reply.text


def test_it_answers_though_better_ones_came(picked, base, conversation):
    put_all(base, *((f"新文档 {n}", [Block("paragraph", BETTER.format(n))], "") for n in range(6)))
    answers_alone(picked, ask(conversation, picked.title))


def test_it_answers_though_the_search_finds_it_no_more(picked, conversation, monkeypatch):
    other = Chunk.objects.exclude(document=picked).first().pk
    monkeypatch.setattr(retrieval.store(), "best", lambda *given, **more: {other: 1.0})
    answers_alone(picked, ask(conversation, picked.title))


def revise(document, text):
    """A newer revision of `document`, through the door and the worker."""
    Document.objects.filter(pk=document.pk).update(external_id="revised")
    added = uploading.add(
        document.knowledge_base,
        file=ContentFile(text.encode()),
        name=f"{document.title}.md",
        external_id="revised",
        approved=True,
    )
    tasks.process(added.revision.pk)


def test_the_same_place_of_a_newer_revision_answers(picked, conversation, monkeypatch):
    before = Chunk.objects.get(document=picked)
    revise(picked, said("新机房").text)
    assert not Chunk.objects.filter(pk=before.pk).exists()
    other = Chunk.objects.exclude(document=picked).first().pk
    monkeypatch.setattr(retrieval.store(), "best", lambda *given, **more: {other: 1.0})
    turn = ask(conversation, picked.title)
    assert turn.outcome == "answered"
    assert "新机房" in turn.reply.text
    assert checks(turn) == [("ambiguity", "chosen", "passage")]


def test_of_a_newer_revision_what_stands_at_the_same_place_answers(picked, conversation):
    same = said(picked.title.removesuffix("手册")).text
    revise(picked, f"{said('各处').text}\n\n## 附录\n\n先看这里。\n\n## 其他\n\n{same}按新流程。")
    turn = ask(conversation, picked.title)
    assert turn.outcome == "answered"
    assert said("各处").text in turn.reply.text


def test_what_reads_the_same_under_a_renamed_heading_answers(picked, conversation):
    same = said(picked.title.removesuffix("手册")).text
    revise(picked, f"## 密码重置\n\n{same}")
    assert Chunk.objects.get(document=picked).heading_path == ["密码重置"]
    turn = ask(conversation, picked.title)
    assert turn.outcome == "answered"
    assert turn.reply.citations.get().quote == same


def test_of_several_that_read_the_same_the_one_under_its_heading_answers(base):
    text = "堡垒机密码过期后联系管理员重置。" * 40  # so long that each section is a passage
    parts = [(Block("heading", name, level=1), Block("paragraph", text)) for name in ("甲", "乙")]
    document = put(base, "密码手册", *chain(*parts))
    first, second = Chunk.objects.filter(document=document).order_by("position")
    choice = ambiguity.Choice(
        "乙", QUESTION, {}, document.pk, 0, offering._digest(second.text), ["乙"]
    )
    turn = graph.outside(QUESTION, [base])
    assert offering.standing(turn, choice) == [second.pk]
    assert offering.standing(turn, replace(choice, section=["丙"])) == [first.pk]


def test_a_section_that_the_newer_revision_has_no_more_is_gone(base, conversation, settings):
    settings.CONFIDENCE, settings.ANSWER_CONFIDENCE = 0.1, 0.9
    heading = Block("heading", "密码", level=1)
    put_all(base, *((f"{name}手册", [heading, said(name)], "") for name in PLACES))
    options = ask(conversation, QUESTION).reply.data["options"]
    assert options[0].endswith("手册 › 密码")
    document = Document.objects.get(title=options[0].removesuffix(" › 密码"))
    revise(document, "## 巡检\n\n每周巡检一次。")
    turn = ask(conversation, options[0])
    assert turn.reply.text.splitlines()[0] == f"“{options[0]}”已不能作答。是其余哪一处？"
    assert turn.reply.data["options"] == options[1:]


@pytest.mark.parametrize(
    "gone",
    [
        {"retired_at": timezone.now()},
        {"approved_at": None},
        {"expires_on": "2020-01-01"},
    ],
)
def test_of_one_that_answers_no_more_it_is_said_and_the_others_are_offered(
    gone, picked, conversation
):
    options = Turn.objects.get().reply.data["options"]
    Document.objects.filter(pk=picked.pk).update(**gone)
    turn = ask(conversation, picked.title)
    assert checks(turn) == [("ambiguity", "gone", "passage"), ("ambiguity", "asked", "passage")]
    assert turn.outcome == "clarifying"
    assert turn.reply.data["options"] == [one for one in options if one != picked.title]
    assert "sureness" not in turn.trace  # nothing was searched
    answered = ask(conversation, "2")
    assert answered.reply.citations.get().title == options[2]


def test_where_none_of_them_answers_any_more_it_is_looked_for_anew(picked, places, conversation):
    Document.objects.filter(pk__in=[one.pk for one in places[:8]]).update(retired_at=timezone.now())
    new = put(picked.knowledge_base, "新手册", said("新机房"))
    turn = ask(conversation, picked.title)
    assert checks(turn)[0] == ("ambiguity", "gone", "passage")
    assert turn.outcome == "answered"
    assert turn.reply.citations.get().document == new
    assert turn.reply.text.startswith(f"“{picked.title}”已不能作答，")


def test_another_place_may_be_picked_after_the_first(picked, conversation):
    options = Turn.objects.get().reply.data["options"]
    first = ask(conversation, "2")
    assert first.reply.data["options"][:4] == [one for one in options[:5] if one != picked.title]
    for told, title in (("第三个", options[2]), (options[3], options[3]), ("1", options[0])):
        turn = ask(conversation, told)
        assert checks(turn) == [("ambiguity", "chosen", "passage")]
        assert turn.reply.citations.get().title == title
    turn = ask(conversation, "12")
    assert turn.reply.text.startswith("只有 1–5。")
    assert ask(conversation, "1").reply.citations.get().title == options[0]


def test_what_asks_about_another_place_or_says_several_after_a_pick_offers_them_all(picked):
    options = Turn.objects.get().reply.data["options"]
    for told in (f"是不是{options[0].removesuffix('手册')}", "两个都要"):
        turn = asked_after(picked, told)
        assert turn.outcome == "clarifying"
        assert turn.reply.data["options"] == options


def test_after_a_pick_the_next_question_is_one_of_its_own(picked, conversation):
    ask(conversation, "2")
    turn = ask(conversation, "数据库备份保存在哪个目录？")
    assert turn.outcome == "answered"
    assert turn.trace["query"] == "数据库备份保存在哪个目录？"
    assert turn.pending == {}


def test_a_follow_up_stays_with_the_place_that_was_picked(picked, conversation):
    ask(conversation, picked.title)
    for told in ("那负责人是谁", "那负责人呢"):
        turn = ask(conversation, told)
        assert turn.outcome == "answered"
        assert turn.reply.citations.get().document == picked
        assert turn.trace["picked"] == turn.pending["picked"] == picked.title


def test_a_follow_up_that_names_another_place_is_of_that_one(picked, conversation):
    options = Turn.objects.get().reply.data["options"]
    ask(conversation, picked.title)
    other = next(one for one in options[:5] if one not in (picked.title, "云上手册"))
    turn = ask(conversation, f"那{other.removesuffix('手册')}呢")
    assert turn.reply.citations.get().title == other


def asked_after(picked, told):
    """What follows a pick, in a conversation of its own."""
    conversation = Conversation.objects.create(visitor="w" * 32)
    return [ask(conversation, text) for text in (QUESTION, picked.title, told)][-1]


def test_a_follow_up_names_another_place_by_any_of_its_words(picked):
    other = Document.objects.get(title=Turn.objects.get().reply.data["options"][2])
    name = other.title.removesuffix("手册")
    Document.objects.filter(pk=other.pk).update(environment="生产环境", product="总部门户")
    for told in (f"{name}的呢", f"what about the {name} one", "那生产的呢", "总部呢"):
        turn = asked_after(picked, told)
        assert turn.reply.citations.get().document == other
        assert turn.trace["query"] == QUESTION
        assert turn.trace["picked"] == other.title


def test_a_follow_up_that_names_no_place_is_searched_with_what_was_asked(picked):
    for told in ("那海外呢", "海外的呢", "what about the overseas one", "Nginx 呢"):
        turn = asked_after(picked, told)
        assert turn.trace["query"] == f"{QUESTION} {told}"
        assert turn.trace.get("picked") is None


def test_a_follow_up_that_the_picked_place_does_not_answer_is_for_a_person(picked, conversation):
    ask(conversation, picked.title)
    assert ask(conversation, "那端口是多少").outcome == "handoff"


def test_what_names_no_other_place_but_is_like_one_is_not_of_the_one_that_was_picked(
    picked, conversation
):
    ask(conversation, picked.title)
    assert ask(conversation, "那机房九呢").trace.get("picked") is None


def test_what_the_picked_place_speaks_of_is_of_it_though_labels_begin_alike(places, conversation):
    Document.objects.update(title=Concat(Value("密码手册 "), "title"))
    label = ask(conversation, QUESTION).reply.data["options"][1]
    ask(conversation, label)
    turn = ask(conversation, "那密码过期呢")
    assert turn.trace["picked"] == label


def test_a_question_of_its_own_that_a_model_words_anew_is_looked_for_everywhere(
    picked, conversation, settings, request
):
    settings.UNDERSTAND_SECONDS = 30
    ask(conversation, picked.title)
    question = "数据库备份保存在哪个目录"
    request.getfixturevalue("configured").structured["understand"] = {
        "intent": "question", "mood": "calm", "question": question, "values": {},
    }  # fmt: skip
    turn = ask(conversation, f"{question}？")
    assert turn.trace["query"] == question
    assert turn.trace.get("picked") is None


def test_a_follow_up_of_a_place_that_is_gone_offers_the_others(picked, conversation):
    ask(conversation, picked.title)
    Document.objects.filter(pk=picked.pk).update(retired_at=timezone.now())
    turn = ask(conversation, "那负责人是谁")
    assert turn.outcome == "clarifying"
    assert picked.title not in turn.reply.data["options"]


def test_a_pick_after_a_quiet_half_hour_answers(picked, conversation):
    ask(conversation, "谢谢")
    old = timezone.now() - timedelta(minutes=31)
    Turn.objects.update(created_at=old, started_at=old, finished_at=old)
    Message.objects.update(created_at=old)
    Conversation.objects.update(updated_at=old)
    for sweep in settings.SWEEPS:
        import_string(sweep)()
    asking.ask(conversation, "2")
    runner.run_waiting()
    answers_alone(picked, Turn.objects.latest("pk"))


def test_a_pick_after_another_question_answers_or_is_asked_about(picked, conversation):
    options = Turn.objects.get().reply.data["options"]
    ask(conversation, "数据库备份保存在哪个目录？")
    turn = ask(conversation, "2")
    assert turn.reply.text.startswith("中间问了别的。是以下哪一处吗？")
    assert turn.reply.data["options"] == options
    ask(conversation, "数据库备份保存在哪个目录？")
    answers_alone(picked, ask(conversation, picked.title))
    assert ask(conversation, "那负责人是谁").reply.citations.get().document == picked


def test_of_two_picks_at_once_each_is_answered(picked, conversation):
    options = Turn.objects.get().reply.data["options"]
    for told in ("2", options[2], "2"):
        asking.ask(conversation, told)
    runner.run_waiting()
    made = Turn.objects.order_by("pk")[1:]
    assert [turn.reply.citations.get().title for turn in made] == [
        options[1], options[2], options[1],
    ]  # fmt: skip


def test_thanks_leave_the_choice(picked, conversation):
    options = Turn.objects.get().reply.data["options"]
    for told, title in (("2", options[1]), ("3", options[2])):
        turn = ask(conversation, told)
        assert turn.reply.citations.get().title == title
        assert ask(conversation, "谢谢").outcome == "chat"


def test_thanks_before_a_pick_leave_the_choice_too(picked, conversation):
    assert ask(conversation, "谢谢").outcome == "chat"
    answers_alone(picked, ask(conversation, picked.title))


def test_picking_again_and_again_calls_nobody(picked, conversation):
    for n in range(1, 4):
        if n > 1:
            assert ask(conversation, QUESTION).outcome == "clarifying"
        assert ask(conversation, str(n)).outcome == "answered"
        assert Turn.objects.latest("pk").trace["policy"]["facts"]["rounds"] == 0


def test_one_that_its_reader_may_not_read_any_more_does_not_answer(picked, base, conversation):
    KnowledgeBase.objects.filter(pk=base.pk).update(audience=KnowledgeBase.Audience.SIGNED_IN)
    turn = ask(conversation, picked.title)
    assert turn.outcome == "handoff"
    assert picked.title not in turn.reply.text


def test_a_question_about_something_else_is_one_of_its_own(places, base, conversation, settings):
    settings.CONFIDENCE, settings.ANSWER_CONFIDENCE = 0.1, 0.9
    ask(conversation, QUESTION)
    put_all(
        base,
        *(
            (f"{name}网络", [Block("paragraph", f"专线割接窗口申请：由{name}网络组审批。")], "")
            for name in PLACES
        ),
    )
    turn = ask(conversation, "专线割接窗口怎么申请")
    assert turn.outcome == "clarifying"
    assert ("ambiguity", "asked", "passage") in checks(turn)
    options = turn.reply.data["options"]
    assert ask(conversation, options[0]).reply.citations.get().title == options[0]


# --- no threshold -----------------------------------------------------------------------


@pytest.mark.parametrize("least", [0.0, 0.01])
def test_without_choices_what_the_base_does_not_hold_is_for_a_person(
    least, places, conversation, settings
):
    settings.ANSWER_CONFIDENCE = least
    assert ask(conversation, QUESTION).outcome == "answered"
    assert ask(conversation, "咖啡机怎么安装").outcome == "handoff"


# --- what is offered --------------------------------------------------------------------


def test_what_destroys_is_warned_of_before_anything_is_picked(base, conversation):
    for name in PLACES:
        text = f"清空堡垒机缓存目录：在{name}执行 `rm -rf /data/cache/*` 后重启。"
        put(base, f"{name}手册", Block("paragraph", text))
    turn = ask(conversation, "怎么清空堡垒机缓存目录")
    assert turn.outcome == "clarifying"
    assert turn.reply.text.startswith("> **")
    assert "`rm -rf`" in turn.reply.text.splitlines()[0]


def test_what_was_read_otherwise_is_said(base, conversation):
    put_all(
        base,
        *(
            (f"{name}手册", [Block("paragraph", f"堡垒机日志导出：联系{name}负责人审批。")], "")
            for name in PLACES
        ),
    )
    vocabulary.catch_up(base.pk)
    turn = ask(conversation, "堡垒机的日至怎么导出")
    assert turn.outcome == "clarifying"
    first, *_rest = turn.reply.text.splitlines()
    assert first.startswith("> ")
    assert "日至" in first


def test_what_nobody_knows_is_named(places, conversation, settings):
    settings.CONFIDENCE, settings.ANSWER_CONFIDENCE = 0.1, 0.9
    turn = ask(conversation, "EMQX 和 Redis 堡垒机的密码过期后怎么处理")
    assert turn.outcome == "clarifying"
    assert "EMQX" in turn.reply.text.splitlines()[0]


def exported(conversation):
    return ExportPdf().run({}, Context(None, conversation=conversation)).text


def test_a_choice_is_no_answer(places, base, conversation, rf, admin_user):
    [chunk, *_rest] = Chunk.objects.filter(document__in=places)
    shown = Attachment.objects.create(
        revision=chunk.revision, kind=Attachment.Kind.TABLE, position=1, number="表 1"
    )
    for one in Chunk.objects.filter(document__in=places):
        one.attachments.add(shown)
    turn = ask(conversation, QUESTION)
    assert turn.reply.citations.count() == 5
    assert presenting.message_json(turn.reply)["exports"] is None
    assert not turn.reply.figures.exists()
    assert str(turn.reply.pk) not in exported(conversation)
    request = rf.get("/")
    request.user = admin_user
    assert panels.asked_of(request, base)["rows"][0]["value"] == 0
    answered = ask(conversation, "1")
    assert answered.reply.figures.count() == 1
    assert (
        str(answered.reply.pk) in ExportPdf().run({}, Context(None, conversation=conversation)).text
    )
    assert panels.asked_of(request, base)["rows"][0]["value"] == 1

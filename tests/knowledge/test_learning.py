import numpy as np
import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from knowledge import confirmed, entries, indexing, learned, learning, retrieval, suggestions
from knowledge.models import (
    Adapter,
    ConfirmedPair,
    Document,
    Entry,
    Role,
    Term,
    TermSuggestion,
)
from knowledge.scope import EVERYTHING
from tests.knowledge import documents

pytestmark = pytest.mark.django_db

# What people call a thing, what the manual calls it; none of the former stands in a passage.
THINGS = {
    "小黄屏": "告警大盘", "跳板": "堡垒机", "老库": "历史数据库", "门禁卡": "物理访问凭证",
    "发版": "应用发布流水线",
    "回滚包": "版本基线归档", "白名单": "访问控制列表", "挂盘": "块存储卷", "小助手": "巡检代理",
    "中转站": "消息队列集群",
}  # fmt: skip
DEEDS = {
    "打不开": "无法访问的处理", "怎么申请": "权限开通流程", "变慢": "性能下降的排查",
    "报错": "异常日志的分析", "要多少钱": "计费与配额", "能删吗": "清理与保留策略",
    "谁负责": "值班与联系人", "搬家": "跨地域迁移", "加人": "成员与角色管理",
    "坏了换哪个": "备件清单",
}  # fmt: skip


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"


@pytest.fixture
def base():
    return documents.base()


@pytest.fixture
def manual(base):
    """A passage for each thing and deed, by what people would ask for it."""
    asked = [f"{thing}{deed}" for thing in THINGS for deed in DEEDS]
    texts = [f"{thing}：{deed}" for thing in THINGS.values() for deed in DEEDS.values()]
    return dict(zip(asked, documents.put_many(base, *texts), strict=True))


def confirm(base, manual, *, but=()):
    for question, document in manual.items():
        if question not in but:
            confirmed.confirm(base, f"{question}？", document, confirmed.Origin.LABEL)


def place(base, question, document):
    found = retrieval.search(question, [base], 100).passages
    places = [one.document_id for one in found]
    return places.index(document.pk) + 1 if document.pk in places else None


def held_out(manual):
    """One of each thing and deed; each of its halves is said in others."""
    return list(manual)[::11]


def test_what_people_confirmed_carries_over_to_passages_that_nobody_asked_for(base, manual):
    questions = held_out(manual)
    before = [place(base, question, manual[question]) for question in questions]
    confirm(base, manual, but=questions)
    adapter = learning.learn(base)
    assert adapter.weight > 0
    assert adapter.effect["with"]["5"] > adapter.effect["without"]["5"]
    after = [place(base, question, manual[question]) for question in questions]
    assert sum(1 / p for p in after if p) > 3 * sum(1 / p for p in before if p)
    found = retrieval.search(questions[0], [base])
    assert all(0 <= one.scores["learned"] <= 1 and 0 <= one.score <= 1 for one in found.passages)
    assert "learned" in found.order


def test_nothing_changes_before_anything_is_learned_and_after_it_is_switched_off(base, manual):
    question = held_out(manual)[1]

    def ranking():
        return [(one.document_id, one.score) for one in retrieval.search(question, [base]).passages]

    before = ranking()
    confirm(base, dict(list(manual.items())[: learning.LEAST - 1]))
    assert learning.learn(base) is None
    assert ranking() == before
    confirm(base, manual)
    learning.learn(base)
    learning.switch(base, False)
    assert ranking() == before
    learning.switch(base, True)
    assert ranking() != before


def test_learning_twice_gives_the_same_and_what_was_before_can_be_gone_back_to(base, manual):
    confirm(base, manual)
    first, second = learning.learn(base), learning.learn(base)
    assert bytes(first.projection) == bytes(second.projection)
    assert base.adapters.get(active=True) == second
    learning.activate(first)
    assert base.adapters.get(active=True) == first


def test_a_confirmed_question_finds_its_document_after_it_was_replaced(base, manual):
    confirm(base, manual)
    learning.learn(base)
    question, document = next(iter(manual.items()))
    indexing.put(documents.revision(document), documents.parsed("全新的说明，一个旧词也没有。"))
    assert (
        learned.boost(question, [base.pk], [], 5, EVERYTHING)
        .scores.keys()
        .isdisjoint(document.chunks.values_list("pk", flat=True))
    )
    learning.catch_up()
    best = learned.boost(question, [base.pk], [], 1, EVERYTHING).scores
    assert list(best) == [document.chunks.get().pk]


def test_what_may_not_answer_is_not_found_by_what_was_learned(base, manual):
    confirm(base, manual)
    learning.learn(base)
    question, document = next(iter(manual.items()))
    assert place(base, question, document) is not None
    Document.objects.filter(pk=document.pk).update(retired_at=timezone.now())
    assert place(base, question, document) is None


def test_a_passage_that_came_in_since_is_as_near_as_usual(base, manual):
    confirm(base, manual)
    learning.learn(base)
    new = documents.put(base, "堡垒机打不开时重启网关").chunks.get()
    scores = learned.boost("跳板打不开", [base.pk], [new.pk], 10, EVERYTHING).scores
    known = [score for chunk, score in scores.items() if chunk != new.pk]
    assert scores[new.pk] == pytest.approx(np.mean(known))


def test_pairs_that_teach_nothing_count_for_nothing(base, manual):
    """Where the words of a question find everything, another order beside them only disturbs."""
    for document in manual.values():
        text = document.chunks.get().text
        confirmed.confirm(base, f"{text}在哪里", document, confirmed.Origin.LABEL)
    adapter = learning.learn(base)
    assert adapter.weight == 0
    assert learned.boost("堡垒机", [base.pk], [], 5, EVERYTHING) == learned.NOTHING


def test_a_pair_is_kept_once_and_stays_out_when_it_was_taken_out(base):
    document = documents.put(base, "执行 nginx -s reload")
    first = confirmed.confirm(base, " 怎么重启\n网关？", document, confirmed.Origin.HANDOFF)
    again = confirmed.confirm(base, "怎么重启网关", document, confirmed.Origin.LABEL)
    assert first == again and first.question == "怎么重启 网关？"
    assert confirmed.confirm(base, " \n ", document, confirmed.Origin.LABEL) is None
    assert confirmed.drop([first]) == 1
    confirmed.confirm(base, "怎么重启网关", document, confirmed.Origin.LABEL)
    assert not confirmed.counting(base).exists()
    assert confirmed.drop([first], dropped=False) == 1
    assert confirmed.counting(base).get() == first


def test_other_questions_of_published_entries_are_pairs_as_long_as_they_stand_there(
    base, admin_user
):
    entry = Entry.objects.create(
        knowledge_base=base, question="如何重启网关", variants=["网关卡死了", "网关没反应"],
        answer="systemctl restart gateway", origin=Entry.Origin.WECOM,
    )  # fmt: skip
    assert not ConfirmedPair.objects.exists()
    entries.publish([entry], admin_user)
    pairs = {pair.question: pair.origin for pair in confirmed.counting(base)}
    assert pairs == dict.fromkeys(["如何重启网关", "网关卡死了", "网关没反应"], "variant")
    entry.refresh_from_db()
    entry.variants = ["网关没反应", "网关连不上"]
    entries.save([entry], admin_user)
    assert {pair.question for pair in confirmed.counting(base)} == {
        "如何重启网关", "网关没反应", "网关连不上",
    }  # fmt: skip
    entries.unpublish([entry])
    assert not ConfirmedPair.objects.exists()


def test_words_that_stand_for_each_other_are_proposed_and_a_person_decides(
    base, manual, admin_user
):
    confirm(base, manual)
    learning.learn(base)
    proposed = {(one.asked, one.written): one for one in base.term_suggestions.all()}
    assert not Term.objects.exists()
    suggestion = next(one for (asked, _), one in proposed.items() if asked == "跳板")
    assert suggestion.count >= 3 and suggestion.examples
    suggestions.accept(suggestion, admin_user)
    term = Term.objects.get()
    assert (term.canonical, term.variants) == (suggestion.written, ["跳板"])
    other = next(one for one in proposed.values() if one.asked != "跳板")
    suggestions.dismiss([other], admin_user)
    learning.learn(base)
    open_ = base.term_suggestions.filter(state=TermSuggestion.State.OPEN)
    assert not open_.filter(asked__in=[suggestion.asked, other.asked]).exists()
    with pytest.raises(ValidationError):
        suggestions.accept(suggestion, admin_user)
    assert Adapter.objects.count() == 2


LEARNED = "admin:knowledge_knowledgebase_learned"


def test_who_curates_a_base_sees_what_it_learned_and_goes_back(base, manual, client, admin_client):
    url = reverse(LEARNED, args=[base.pk])
    page = admin_client.get(url)
    assert page.context["missing"] == learning.LEAST and b'value="learn"' not in page.content
    confirm(base, manual)
    first, second = learning.learn(base), learning.learn(base)
    page = admin_client.get(url)
    assert [one.pk for one in page.context["adapters"]] == [second.pk, first.pk]
    admin_client.post(url, {"decision": str(first.pk)})
    assert base.adapters.get(active=True) == first
    admin_client.post(url, {"decision": "off"})
    assert not type(base).objects.get(pk=base.pk).learns
    assert admin_client.post(url, {"decision": "999999999"}).status_code == 404

    group = Group.objects.create(name="readers")
    reader = User.objects.create_user("reader", is_staff=True)
    reader.groups.add(group)
    Role.objects.create(knowledge_base=base, group=group, kind=Role.Kind.VIEWER)
    client.force_login(reader)
    assert client.get(url).status_code == 200
    assert client.post(url, {"decision": "on"}).status_code == 403
    other = reverse(LEARNED, args=[documents.base("secret").pk])
    assert client.get(other).status_code == 403


def test_pairs_are_taken_out_and_words_decided_on_in_lists(base, manual, admin_client):
    confirm(base, manual)
    pair = base.pairs.first()
    pairs = reverse("admin:knowledge_confirmedpair_changelist")
    admin_client.post(pairs, {"action": "take_out", "_selected_action": [pair.pk]})
    assert not confirmed.counting(base).filter(pk=pair.pk).exists()
    assert pair.question in admin_client.get(f"{pairs}?dropped__exact=1").content.decode()
    row = TermSuggestion.objects.create(
        knowledge_base=base, asked="跳板", written="堡垒机", count=5, examples=[["<b>", "答"]]
    )
    words = reverse("admin:knowledge_termsuggestion_changelist")
    assert "&lt;b&gt; → 答" in admin_client.get(words).content.decode()
    admin_client.post(words, {"action": "accept", "_selected_action": [row.pk]})
    assert Term.objects.get(knowledge_base=base).variants == ["跳板"]
    TermSuggestion.objects.update(state=TermSuggestion.State.OPEN)
    again = admin_client.post(
        words, {"action": "accept", "_selected_action": [row.pk]}, follow=True
    )
    assert "跳板" in again.content.decode() and Term.objects.count() == 1
    admin_client.post(words, {"action": "dismiss", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.state == TermSuggestion.State.DISMISSED and row.decided_by


def test_the_command_learns_and_names_a_base_that_is_not_there(base, manual, capsys):
    confirm(base, manual)
    call_command("learn", "ops")
    said = capsys.readouterr().out
    assert f"ops: {len(manual)} " in said and "hit@5 0." in said
    with pytest.raises(CommandError, match="nowhere"):
        call_command("learn", "nowhere")

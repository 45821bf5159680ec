import datetime

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from knowledge import dense, embedding, indexing, missed, retrieval, scope, synonyms, uploading
from knowledge.admin.finding import highlighted
from knowledge.models import Chunk, Document, KnowledgeBase, Role, Term
from knowledge.parsing.document import Block, ParsedDocument
from knowledge.rerankers import Reranker
from knowledge.scope import Scope
from tests.knowledge import documents
from tests.knowledge.test_retrieval import Meaning

pytestmark = pytest.mark.django_db
TEXT = "堡垒机登录失败时，先核对令牌时间，再解锁帐号"
QUESTION = "跳板机连不上了"


@pytest.fixture
def base():
    made = documents.base(audience=KnowledgeBase.Audience.VISITORS)
    duty = "第 {} 组值班人员负责机房巡检，填写表格并交接，连续三班不上岗的上报"
    documents.put_many(made, *(duty.format(n) for n in range(30)))
    return made


@pytest.fixture
def document(base):
    return documents.put(base, TEXT, title="登录")


def look(base, question=QUESTION, **given):
    return missed.diagnose(question, base, **given)


def chunk_of(document):
    return Chunk.objects.select_related("document__latest").get(document=document)


def test_what_did_come_is_said_so(base, document):
    made = look(base, "堡垒机登录失败怎么办", text="先核对令牌时间")
    assert (made.verdict, made.rank, made.mends) == ("answered", 1, [])
    assert made.chunk == chunk_of(document)
    assert [step.stage for step in made.steps] == [
        "parse", "chunk", "filter", "lexical", "cut", "confidence", "choice",
    ]  # fmt: skip


def test_lost_among_others_that_are_as_good(base, document):
    alike = "{} 号机房的堡垒机登录失败时先核对令牌时间，再联系值班"
    documents.put_many(base, *(alike.format(n) for n in range(9)))
    made = look(base, "堡垒机登录失败怎么办", text="先核对令牌时间")
    assert (made.verdict, made.steps[-1].stage) == ("choice", "choice")
    assert not made.steps[-2].lost


def test_marks_alone_stand_nowhere(base, document):
    assert missed.locate(base, "||||||||") is None and missed.locate(base, "短") is None
    assert missed.diagnose("重启", base, text="||||||||").verdict == "parse"


def test_lost_by_words(base, document):
    made = look(base, "ssh 报错", chunk=chunk_of(document))
    assert (made.verdict, made.rank) == ("lexical", None)
    assert made.mends == ["question", "synonym"]
    assert "ssh" in made.missing


def test_lost_behind_others(base, document):
    made = look(base, "机房巡检填写表格", chunk=chunk_of(document))
    assert made.verdict == "cut"
    assert made.rank > 5
    step = next(step for step in made.steps if step.stage == "lexical")
    assert step.facts["rank"] == made.rank
    found = retrieval.search("机房巡检填写表格", [base], 50).passages
    assert found[made.rank - 1].chunk_id == made.chunk.pk


def test_lost_by_confidence(base, document, settings):
    settings.CONFIDENCE = 0.999
    made = look(base, "堡垒机登录失败怎么办", chunk=chunk_of(document))
    assert (made.verdict, made.rank) == ("confidence", 1)


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"approved_at": None}, "approve"),
        ({"retired_at": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}, "restore"),
        ({"expires_on": datetime.date(2026, 1, 1)}, "extend"),
        ({"product": "CRM"}, "open"),
    ],
)
def test_lost_by_a_filter(base, document, change, mend):
    Document.objects.filter(pk=document.pk).update(**change)
    made = look(base, "堡垒机登录", text=TEXT, within=Scope(product="ODS"))
    assert (made.verdict, made.mends) == ("filter", [mend])
    words = next(step for step in made.steps if step.stage == "lexical")
    assert words.facts["rank"] == 1  # what it would be


def test_lost_by_being_disabled_or_out_of_reach(base, document):
    chunk_of(document).__class__.objects.filter(document=document).update(enabled=False)
    assert look(base, text=TEXT).mends == ["enable"]
    KnowledgeBase.objects.update(audience=KnowledgeBase.Audience.SIGNED_IN)
    base.refresh_from_db()
    Chunk.objects.update(enabled=True)
    assert look(base, text=TEXT, visitor=True).verdict == "filter"
    assert look(base, text=TEXT).verdict != "filter"


def test_lost_in_cutting(base):
    document = documents.put(base, "占位")
    hidden = Block("paragraph", "内部资料 请勿外传 第三版", hidden=True)
    parsed = ParsedDocument(blocks=[Block("paragraph", "正文在此"), hidden])
    indexing.put(documents.revision(document), parsed)
    made = look(base, text="请勿外传，第三版".replace("，", " "))
    assert (made.verdict, made.document, made.chunk) == ("chunk", document, None)


def test_lost_in_reading(base, document):
    assert look(base, text="这句话哪里都没有写过").verdict == "parse"
    failed = documents.revision(document)
    failed.fail("坏文件")
    made = look(base, text="这句话哪里都没有写过", document=Document.objects.get(pk=document.pk))
    assert made.verdict == "parse"
    assert "坏文件" in made.steps[0].text


@pytest.fixture
def embedder(base, document, settings):
    config = {
        "BACKEND": f"{Meaning.__module__}.Meaning",
        "OPTIONS": {"model": "meaning", "dimensions": 4},
    }
    settings.EMBEDDERS, settings.EMBEDDER = {"meaning": config}, "meaning"
    settings.BACKENDS = {"embedder": config}
    index = embedding.create()
    assert embedding.advance(index.pk, 60)
    return index


def test_places_by_meaning_and_together(base, document, embedder):
    near = documents.put(base, "主机挂了请看带外管理口")
    made = look(base, "死机", chunk=chunk_of(near))
    places = {step.stage: step.facts.get("rank") for step in made.steps}
    assert (made.verdict, places["lexical"], places["dense"]) == ("confidence", 1, 1)
    far = look(base, "宕机 填写", chunk=chunk_of(document))
    stages = {step.stage: step for step in far.steps}
    assert far.verdict == "fusion"
    assert stages["dense"].facts["rank"] == dense.rank(
        embedder, "宕机 填写", [base.pk], far.chunk.pk, scope.EVERYTHING
    )[0]  # fmt: skip


def test_a_place_is_that_of_the_whole_order(base, document):
    asked = retrieval.search("机房巡检填写表格", [base], 50)
    for place, passage in enumerate(asked.passages, 1):
        made = look(base, "机房巡检填写表格", chunk=Chunk.objects.get(pk=passage.chunk_id))
        step = next(step for step in made.steps if step.stage == "lexical")
        by_words = asked.order["words"].index(passage.chunk_id) + 1
        assert (made.rank, step.facts["rank"]) == (place, by_words)


def test_what_says_the_same_as_a_better_one_is_named(base, document):
    documents.put(base, TEXT, title="登录")
    question = "堡垒机登录失败，先核对令牌时间，再解锁帐号"
    verdicts = {look(base, question, chunk=one).verdict for one in Chunk.objects.filter(text=TEXT)}
    assert verdicts == {"answered", "cut"}


class Contrary(Reranker):
    """Puts last what came first."""

    def score(self, query, texts, deadline):
        return range(len(texts))


def test_lost_by_the_second_look(base, document, settings):
    config = {"BACKEND": f"{__name__}.Contrary", "OPTIONS": {"model": "contrary"}}
    settings.BACKENDS = {**settings.BACKENDS, "reranker": config}
    made = look(base, "堡垒机登录失败 机房巡检", chunk=chunk_of(document))
    step = next(step for step in made.steps if step.stage == "rerank")
    assert (made.verdict, step.lost) == ("rerank", True)
    assert step.facts == {"rank": len(made.found.order["rerank"]), "raw": 0.0}


# --- the pages ------------------------------------------------------------------------


def url(name, base):
    return reverse(f"admin:knowledge_knowledgebase_{name}", args=[base.pk])


def member(client, base, kind):
    group = Group.objects.create(name=kind)
    Role.objects.create(knowledge_base=base, group=group, kind=kind)
    user = User.objects.create_user(kind, is_staff=True)
    user.groups.add(group)
    client.force_login(user)
    return user


@pytest.mark.parametrize(
    ("question", "mend", "more"),
    [
        (QUESTION, "question", {}),
        ("跳板机", "synonym", {"word": "跳板机", "means": "堡垒机"}),
    ],
)
def test_mending_and_asking_again(admin_client, base, document, question, mend, more):
    chunk = chunk_of(document)
    given = {"q": question, "chunk": chunk.pk}
    before = admin_client.get(url("missed", base), given).context["made"]
    assert before.verdict != "answered"
    post = {**given, **more, "mend": mend, "document": document.pk}
    page = admin_client.post(url("mend", base), post, follow=True)
    made = page.context["made"]
    assert (made.verdict, made.rank) == ("answered", 1)
    if mend == "question":
        assert chunk_of(document).questions == [question]
    else:
        assert Term.objects.get().variants == ["跳板机"]


@pytest.mark.parametrize("mend", ["enable", "approve", "restore", "extend"])
def test_filters_are_mended(admin_client, base, document, mend):
    Chunk.objects.filter(document=document).update(enabled=False)
    Document.objects.filter(pk=document.pk).update(
        approved_at=None, expires_on=datetime.date(2026, 1, 1)
    )
    uploading.retire(Document.objects.filter(pk=document.pk), "没有了")
    given = {"q": "堡垒机登录失败", "chunk": chunk_of(document).pk, "document": document.pk}
    admin_client.post(url("mend", base), {**given, "mend": mend})
    left = admin_client.get(url("missed", base), given).context["made"].mends
    assert left == [one for one in ("enable", "approve", "restore", "extend") if one != mend]


def test_what_cannot_be_done_is_said(admin_client, base, document):
    Term.objects.create(knowledge_base=base, canonical="网关", variants=["跳板机"])
    synonyms.changed([base.pk])
    given = {"q": "x", "document": document.pk, "chunk": chunk_of(document).pk}
    for wrong in (
        {"mend": "synonym", "word": "跳板机", "means": "堡垒机"},
        {"mend": "synonym", "word": "跳", "means": ""},
        {"mend": "synonym", "word": "a" * 101, "means": "堡垒机"},
        {"mend": "extend", "expires_on": "morgen"},
        {"mend": "question", "q": ""},
        {"mend": "nothing"},
        {"mend": "enable", "chunk": 10**17},
    ):
        page = admin_client.post(url("mend", base), {**given, **wrong}, follow=True)
        assert [message.level_tag for message in page.context["messages"]] == ["error"], wrong


def test_who_may_see_and_who_may_mend(client, base, document):
    given = {"q": QUESTION, "chunk": chunk_of(document).pk, "document": document.pk}
    member(client, base, Role.Kind.VIEWER)
    page = client.get(url("missed", base), given)
    assert page.status_code == 200
    assert 'id="mends"' not in page.content.decode()
    assert client.get(url("try", base), {"q": "堡垒机"}).status_code == 200
    assert client.post(url("mend", base), {**given, "mend": "question"}).status_code == 403
    other = documents.base("other")
    for name in ("try", "missed"):
        assert client.get(url(name, other)).status_code == 403
    assert client.get(url("mend", base)).status_code == 405


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"q": QUESTION},
        {"q": "", "expected": TEXT},
        {"q": QUESTION, "expected": "99999999999999999"},
        {"q": QUESTION, "expected": "短"},
        {"q": QUESTION, "document_q": "登录"},
        {"q": "？！", "expected": TEXT},
        {"q": QUESTION, "document": "x", "chunk": "y"},
        {"q": "\x00", "expected": "\x00" * 9},
    ],
)
def test_odd_input_is_answered_with_a_page(admin_client, base, document, given):
    assert admin_client.get(url("missed", base), given).status_code == 200


def test_a_trial_shows_the_stages(admin_client, base, document):
    Term.objects.create(knowledge_base=base, canonical="堡垒机", variants=["跳板机"])
    page = admin_client.get(url("try", base), {"q": "跳板机 <登录>", "top": 5})
    row = page.context["rows"][0]
    assert row["passage"].title == "登录"
    (stage,) = row["stages"]
    assert stage["place"] == 1
    assert stage["value"] == pytest.approx(sum(part for _, part in stage["parts"]), rel=1e-4)
    html = page.content.decode()
    assert "<mark>堡垒机</mark>" in html
    assert "跳板机 → 堡垒机" in html
    assert admin_client.get(url("try", base), {"q": "跳板机", "product": "x"}).status_code == 200
    assert not admin_client.get(url("try", base), {"q": "龘"}).context["rows"]


def test_a_trial_says_what_is_left_out(admin_client, base, document):
    documents.put(base, TEXT, title="登录")
    page = admin_client.get(url("try", base), {"q": "堡垒机登录失败"})
    assert [bool(row["left_out"]) for row in page.context["rows"]][:2] == [False, True]


def test_a_trial_shows_every_stage(admin_client, base, document, embedder, settings):
    config = {"BACKEND": f"{__name__}.Contrary", "OPTIONS": {"model": "contrary"}}
    settings.BACKENDS = {**settings.BACKENDS, "reranker": config}
    page = admin_client.get(url("try", base), {"q": "堡垒机登录失败", "top": 50})
    shown = [[str(stage["name"]) for stage in row["stages"]] for row in page.context["rows"]]
    assert {len(names) for names in shown} == {4}  # words, meaning, together, second look
    assert all(stage["place"] for row in page.context["rows"] for stage in row["stages"][2:])
    found = page.context["found"]
    assert sum(row["kept"] for row in page.context["rows"]) == len(found.kept) == settings.PASSAGES
    chunk = chunk_of(document)
    missed_page = admin_client.get(url("missed", base), {"q": "堡垒机登录失败", "chunk": chunk.pk})
    assert 'data-stage="rerank"' in missed_page.content.decode()


def test_words_are_marked_and_everything_else_is_escaped():
    assert highlighted("<b>nginx</b> nginxx 磁盘", ["nginx", "磁盘", "b"]) == (
        "&lt;b&gt;<mark>nginx</mark>&lt;/b&gt; nginxx <mark>磁盘</mark>"
    )
    assert highlighted("磁 & b", ["磁"]) == "<mark>磁</mark> &amp; b"

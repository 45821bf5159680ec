"""The pages of operating figures and of what to fix next."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse

from chat.models import Conversation
from evaluation import charts, gaps, tallying
from evaluation.models import Gap, GoldenQuestion, Price, Verdict
from knowledge.models import Entry, Role
from tests.evaluation.asked import PROMPT, ask, unanswered
from tests.knowledge import documents

pytestmark = pytest.mark.django_db
FIGURES = "admin:evaluation_tally_changelist"
GAPS = "admin:evaluation_gap_changelist"
DAY = timedelta(days=1)
VPN = ["VPN 连不上怎么办", "VPN 连接不上了", "连不上 VPN"]


@pytest.fixture
def base():
    return documents.base()


@pytest.fixture
def other():
    return documents.base("其他")


def viewer(base, kind=Role.Kind.VIEWER):
    """Staff with a role on one base, and no more."""
    user = User.objects.create_user(f"{kind}-{base.slug}", is_staff=True)
    group = Group.objects.create(name=f"{kind}-{base.slug}")
    Role.objects.create(knowledge_base=base, group=group, kind=kind)
    user.groups.add(group)
    return user


def page(client, name, **query):
    return client.get(reverse(name), query).content.decode()


def decide(client, gap, decision, **given):
    url = reverse("admin:evaluation_gap_decide", args=[gap.pk])
    return client.post(url, {"decision": decision, **given})


def test_figures_are_shown_narrowed_and_taken_away(admin_client, base, other):
    ask(base, prompts=[PROMPT], after=DAY, degraded=["no_reranker"])
    ask(other, after=DAY, channel="api", outcome="failed")
    tallying.catch_up()
    whole = page(admin_client, FIGURES)
    assert "qwen" in whole
    assert reverse("admin:evaluation_price_add") in whole  # its price is not known
    assert '<th scope="row">其他</th>' in whole
    narrowed = page(admin_client, FIGURES, base=base.pk)
    assert '<th scope="row">其他</th>' not in narrowed
    by_web = page(admin_client, FIGURES, by="channel", channel="web")
    api = f'<th scope="row">{Conversation.Channel.API.label}</th>'
    assert api not in by_web
    assert api in page(admin_client, FIGURES, by="channel")
    for by in ("topic", "document", "model", "prompt", "configuration", "channel", "nonsense"):
        assert page(admin_client, FIGURES, by=by)
    exported = admin_client.get(reverse(FIGURES), {"export": "csv"})
    assert exported["Content-Type"].startswith("text/csv")
    assert "ops" in exported.content.decode("utf-8-sig")
    Price.objects.create(model="qwen", per_million_in=1000, per_million_out=0)
    assert "1.00 CNY" in page(admin_client, FIGURES)


@pytest.mark.parametrize(
    "given",
    [{"first": "2026-13-01"}, {"first": "2026-02-01", "last": "2026-01-01"}, {"base": "x"},
     {"first": "2020-01-01", "last": "2026-01-01"}, {"base": "9" * 30}, {"last": "\0"},
     {"topic": "\0"}, {"first": "0001-01-01", "last": "0001-01-02"},
     {"first": "9999-12-30", "last": "9999-12-31"}],
)  # fmt: skip
def test_a_wrong_period_is_no_error(admin_client, base, given):
    ask(base)
    tallying.catch_up()
    assert admin_client.get(reverse(FIGURES), given).status_code == 200


def test_an_empty_installation_says_so(admin_client):
    assert 'id="none"' in page(admin_client, FIGURES)
    for tab in ("open", "decided", "unused", "misleading"):
        assert 'id="none"' in page(admin_client, GAPS, tab=tab)


def test_who_sees_one_base_sees_its_figures_alone(client, base, other):
    ask(base, after=DAY, channel="widget")
    ask(other, after=DAY, channel="api")
    unanswered(base, "VPN 连不上")
    unanswered(other, "年假怎么申请")
    tallying.catch_up()
    gaps.find_all()
    client.force_login(viewer(base))
    assert '<th scope="row">其他</th>' not in page(client, FIGURES)
    shown = page(client, GAPS)
    assert "VPN 连不上" in shown
    assert "年假" not in shown
    hidden = Gap.objects.get(base=other)
    assert decide(client, hidden, "solved").status_code == 404
    own = Gap.objects.get(base=base)
    for decision in ("solved", "write", "golden"):  # a viewer changes nothing
        assert decide(client, own, decision).status_code == 403
    assert client.get(reverse("admin:evaluation_gap_change", args=[hidden.pk])).status_code == 404
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    for name in (FIGURES, GAPS, "admin:evaluation_gap_progress"):
        assert client.get(reverse(name)).status_code == 403
    assert client.post(reverse("admin:evaluation_gap_refresh")).status_code == 403


def test_a_topic_leads_to_what_mends_it(client, base):
    for text in VPN:
        unanswered(base, text, after=DAY)
    gaps.find_all()
    gap = Gap.objects.get()
    user = viewer(base, Role.Kind.CURATOR)
    user.user_permissions.add(Permission.objects.get(codename="add_goldenquestion"))
    client.force_login(user)
    shown = page(client, GAPS)
    assert reverse("admin:knowledge_knowledgebase_missed", args=[base.pk]) in shown
    written = decide(client, gap, "write")
    entry = Entry.objects.get()
    assert written.url == reverse("admin:knowledge_entry_change", args=[entry.pk])
    decide(client, gap, "golden")
    assert GoldenQuestion.objects.get().question == gap.question
    term = client.get(reverse("admin:evaluation_gap_term", args=[gap.pk]))
    form = client.get(term.url).content.decode()
    assert "VPN" in form
    assert f'value="{base.pk}" selected' in form
    decide(client, gap, "dismissed")
    assert 'id="none"' in page(client, GAPS)
    assert gap.question in page(client, GAPS, tab="decided")
    decide(client, gap, "open")
    assert gap.question in page(client, GAPS)
    assert VPN[0] in client.get(
        reverse("admin:evaluation_gap_change", args=[gap.pk])
    ).content.decode()  # fmt: skip


def test_looking_again_tells_how_far_it_is(admin_client):
    admin_client.post(reverse("admin:evaluation_gap_refresh"))
    told = admin_client.get(reverse("admin:evaluation_gap_progress")).json()
    assert told == {"progress": {"done": 0, "of": 0}}
    assert 'id="progress"' in page(admin_client, GAPS)
    gaps.find_all()
    assert admin_client.get(reverse("admin:evaluation_gap_progress")).json() == {"progress": None}


def test_documents_that_nobody_needs_or_that_mislead_are_listed(admin_client, base):
    unused = documents.put(base, "年会抽奖规则。", "年会")
    wrong = documents.put(base, "重启用 systemctl restart。", "重启")
    base.documents.update(created_at=unused.created_at - 200 * DAY)
    for n in range(3):
        ask(base, cited=[wrong], helpful=n > 1, after=DAY)
    tallying.catch_up()
    shown = page(admin_client, GAPS, tab="unused")
    assert "年会" in shown
    assert "重启" not in shown
    listed = page(admin_client, GAPS, tab="misleading")
    assert "重启" in listed
    assert "2 / 3" in listed
    assert "67 %" in listed


def test_ratings_count_where_raters_found_nothing_wrong(admin_client, base):
    bad = documents.put(base, "重启用 systemctl restart。", "重启")
    for n in range(10):
        turn = ask(base, cited=[bad], helpful=n > 7, after=DAY)
        if n > 7:
            Verdict.objects.create(turn=turn, kind="right")
    tallying.catch_up()
    assert "80 %" in page(admin_client, GAPS, tab="misleading")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2 / 17, "share", "11.8 %"),
        (0.8999, "share", "90.0 %"),
        (0.0056, "", "0.0056"),
        (12.345, "", "12.35"),
        (999.4, "ms", "999 ms"),
        (1960, "ms", "2.0 s"),
        (None, "share", "–"),
    ],
)
def test_numbers_are_rounded_not_cut_off(value, unit, text):
    assert charts.shown(value, unit) == text

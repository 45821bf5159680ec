"""The top of the start page, and how quickly it is there when much was asked."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from evaluation import dashboard, gaps, operations, tallying, trends
from evaluation.models import Alert, Gap, Goal
from handoff.models import Agent, Handoff
from tests.evaluation.asked import ask, unanswered
from tests.evaluation.test_operations_admin import viewer
from tests.knowledge import documents

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _nothing_kept():
    cache.clear()


@pytest.fixture
def base():
    return documents.base()


def start(client):
    return client.get(reverse("admin:index")).content.decode()


def top(client):
    """What the start page says above its panels."""
    whole = start(client)
    return whole[whole.index('class="now"') : whole.index("</section>")] if "now" in whole else ""


def number(html, label):
    found = re.search(rf"<dt>{label}</dt><dd>(?:<a [^>]*>)?([^<]*)", html)
    return found[1].strip() if found else None


def test_a_fresh_installation_leads_to_the_three_things_to_do_first(admin_client, base):
    html = top(admin_client)
    for name in ("admin:knowledge_document_add", "chat", "admin:handoff_agent_add"):
        assert f'href="{reverse(name)}"' in html
    assert number(html, "今日提问") is None
    documents.put(base, "重启用 systemctl restart。", "重启")
    html = top(admin_client)
    assert reverse("admin:knowledge_document_add") not in html  # done
    ask(base)
    html = top(admin_client)
    assert number(html, "今日提问") == "1"
    assert reverse("admin:handoff_agent_add") in html
    Agent.objects.create(user=User.objects.get(), on_duty=True)
    assert 'class="begin"' not in top(admin_client)


def test_who_has_used_it_for_days_is_not_told_how_to_begin(admin_client, base):
    for n in range(dashboard.BEGINNING + 1):
        ask(base, after=n * DAY)
    tallying.catch_up()
    assert 'class="begin"' not in top(admin_client)


def test_today_stands_there_at_once(admin_client, base):
    ask(base)
    ask(base, outcome="failed")
    waits = unanswered(base, "VPN 连不上")
    Handoff.objects.create(conversation=waits.conversation, reason="no_answer", last_seq=2)
    ask(base, after=DAY)
    tallying.catch_up()
    gaps.find_all()
    Goal.objects.create(figure="accuracy", value=90)
    Alert.objects.create(name="answered", text="回答率：50 %")
    html = top(admin_client)
    assert number(html, "今日提问") == "3"
    assert number(html, "已作答") == "1"
    assert number(html, "失败") == "1"
    assert number(html, "等待人工") == "1"
    assert number(html, "准确率") == "–"
    listed = re.search(r'<dt>失败</dt><dd><a href="([^"]*)"', html)[1].replace("&amp;", "&")
    assert admin_client.get(listed).context["cl"].result_count == 1
    assert "回答率：50 %" in html
    assert reverse("admin:evaluation_gap_change", args=[Gap.objects.get().pk]) in html


def test_everybody_sees_what_they_may_see(client, base):
    other = documents.base("其他")
    ask(base)
    ask(other)
    unanswered(other, "年假怎么申请")
    tallying.catch_up()
    gaps.find_all()
    Alert.objects.create(name="answered", text="回答率：50 %")
    client.force_login(viewer(base))
    html = top(client)
    assert number(html, "今日提问") == "1"
    assert "年假" not in html
    assert "回答率" not in html
    assert number(html, "准确率") is None
    assert number(html, "等待人工") is None
    nobody = User.objects.create_user("nobody", is_staff=True)
    client.force_login(nobody)
    assert 'class="now"' not in start(client)
    nobody.user_permissions.add(Permission.objects.get(codename="view_handoff"))
    client.force_login(User.objects.get(pk=nobody.pk))
    html = top(client)
    assert number(html, "等待人工") == "0"
    assert number(html, "今日提问") is None


# --- much was asked ---------------------------------------------------------------------

MESSAGES = 100_000
FILL = """
INSERT INTO chat_conversation (id, channel, visitor, identity, knowledge_base_id, language, title,
    state, epoch, last_seq, created_at, updated_at)
SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'web', '', '', {base},
    'zh-hans', '', 'bot', 0, 2, at, at
FROM (SELECT n, now() - n * interval '50 seconds' AS at FROM generate_series(0, {half} - 1) n) made;
INSERT INTO chat_message (id, conversation_id, seq, role, text, client_msg_id, epoch, data, public,
    created_at)
SELECT row_number() OVER (), id, seq, CASE seq WHEN 1 THEN 'customer' ELSE 'assistant' END, 'x', '',
    0, '{{}}', true, created_at
FROM chat_conversation, generate_series(1, 2) seq;
INSERT INTO chat_turn (conversation_id, message_id, reply_id, epoch, status, outcome, attempt,
    pending, trace, created_at, started_at, finished_at)
SELECT asked.conversation_id, asked.id, reply.id, 0, 'done',
    CASE WHEN asked.id % 5 = 0 THEN 'handoff' ELSE 'answered' END, 1, '{{}}',
    '{{"query": "x", "steps": {{"recall": 30}}}}', asked.created_at, asked.created_at,
    asked.created_at + interval '2 seconds'
FROM chat_message asked JOIN chat_message reply USING (conversation_id)
WHERE asked.seq = 1 AND reply.seq = 2;
ANALYZE chat_conversation, chat_message, chat_turn;
"""


@pytest.fixture
def much(base):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # no foreign keys to check
        cursor.execute(FILL.format(base=base.pk, half=MESSAGES // 2))
        cursor.execute("SET LOCAL session_replication_role = origin")
    for n in range(2):
        tallying.count(timezone.localdate() - n * DAY)


def nodes(plan):
    yield plan
    for one in plan.get("Plans", ()):
        yield from nodes(one)


def walked(queries):
    """Tables that a plan reads from end to end, and the milliseconds of all queries."""
    tables, milliseconds = set(), 0.0
    for query in queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query['sql']}")
            plan = cursor.fetchone()[0][0]
        milliseconds += plan["Execution Time"]
        tables |= {one["Relation Name"] for one in nodes(plan["Plan"])
                   if one["Node Type"] == "Seq Scan"}  # fmt: skip
    return tables, milliseconds


def selects(captured):
    asked = (one for one in captured.captured_queries if one["sql"].startswith("SELECT"))
    return [one for one in asked if "chat_" in one["sql"] or "evaluation_" in one["sql"]]


def test_no_page_reads_all_that_was_ever_asked(much):
    with CaptureQueriesContext(connection) as captured:
        now = dashboard.counted(None)
    assert now.today["asked"] > 0
    tables, milliseconds = walked(selects(captured))
    assert not tables & {"chat_message", "chat_turn", "chat_conversation"}
    assert milliseconds < 500  # on a busy machine
    assert len(captured) <= 12

    period = trends.last(30, timezone.localdate())
    with CaptureQueriesContext(connection) as captured:
        made = operations.overview(period)
        trends.charts(period)
        for dimension in operations.DIMENSIONS:
            operations.by(period, dimension)
        operations.costs(period)
        operations.used(period)
    assert made.answered > 0
    asked = " ".join(one["sql"] for one in captured)
    assert "chat_message" not in asked
    assert "chat_turn" not in asked
    assert walked(selects(captured))[1] < 500

    with CaptureQueriesContext(connection) as captured:
        tallying.count(timezone.localdate() - 3 * DAY)
        list(gaps._problems(timezone.now() - DAY))
    assert not walked(selects(captured))[0] & {"chat_message", "chat_turn"}

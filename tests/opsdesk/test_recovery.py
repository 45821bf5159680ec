"""The whole of `manage.py serve` with a visitor in front, while PostgreSQL is killed."""

import os
import signal

import psycopg
import pytest

from knowledge import demo
from tests.browser import CHROMIUM, chromium
from tests.opsdesk.test_serve import installation, until  # noqa: F401
from tests.pages.test_chat import DRAIN, ask, delivered

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed"),
]


def ready(installation):  # noqa: F811
    """How many documents of the demo base answer."""
    where = {"host": str(installation.server.sockets), "user": "postgres", "dbname": "opsdesk"}
    try:
        with psycopg.connect(**where) as connection:
            found = connection.execute(
                "SELECT count(*) FROM knowledge_revision WHERE status = 'ready'"
            )
            return found.fetchone()[0]
    except psycopg.Error:
        return 0


def test_the_page_recovers_by_itself_when_postgresql_is_killed(installation):  # noqa: F811
    installation.start()
    until(lambda: ready(installation) == len(demo.FILES))
    with chromium(base_url=f"http://127.0.0.1:{installation.port}") as page:
        page.set_default_timeout(60_000)
        page.goto("/")
        assert "kubectl cordon node-17" in ask(page, DRAIN).inner_text()

        os.kill(installation.server.postmaster(), signal.SIGKILL)
        answer = ask(page, "Redis 报 MOVED 错误是什么意思？")
        delivered(page)
        assert "加 -c 参数" in answer.inner_text()
        assert page.locator("#log > .message.customer").count() == 2

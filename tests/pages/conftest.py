"""Pages in Chromium, against one web process and one runner that know the demo documents.

All tests here share them, in one pytest worker: they run as one group (tests/conftest.py). A new
test of a page takes a fixture and is done; whatever rows it leaves are gone before the next one:

- `page`: the chat page of a new visitor; `visit(**options)` opens more of them.
- `staff(user, path)`: a page of the console or the administration; `agent` is a superuser on duty.
- `unanswered`: the same site without its runner. Nothing answers, and nothing offers, routes or
  sweeps by itself; `pytestmark = pytest.mark.usefixtures("unanswered")` for a whole module.
- `site.workers()`: a context in which documents are read and tasks are run.

Wait for what a script makes of a page by locators or `wait_for`: polls of `page.wait_for_function`
are refused by our Content-Security-Policy, which shows only where the first one is too early.

Rows of the demo documents that a test changes or deletes it puts back itself; "all documents" are
not its own ones. Only what needs other variables of the environment starts a site of its own,
outside of this folder (tests/browser.py).
"""

import os
import socket
from contextlib import ExitStack
from urllib.parse import urljoin

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.test import Client, override_settings
from django.utils import timezone

from handoff.models import Agent
from knowledge import demo, tasks
from knowledge.models import Revision
from tests.browser import ARGUMENTS, CHROMIUM, kill, started, wait_for, workers

DESKTOP = {"width": 1280, "height": 800}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Site:
    """A web process and a runner that can be stopped and come back at the same address.

    They may fetch from this machine, and call a service at `service_port`.
    """

    def __init__(self, home):
        self.home = home
        self.port, self.service_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.web = self.runner = None
        self._stack = ExitStack()
        self._environment = {
            "OPSDESK_TOOL_HOSTS": f"127.0.0.1:{self.service_port}",
            "OPSDESK_FETCH_PRIVATE": "127.0.0.1",
            "OPSDESK_FETCH_DELAY": "0",
        }

    def __enter__(self):
        self.start_runner()
        self.start_web()
        return self

    def __exit__(self, *failure):
        self._stack.close()

    def start_web(self):
        self.web = self._start(
            "web", "-m", "uvicorn", "opsdesk.asgi:application", "--port", str(self.port),
            "--lifespan", "off",
        )  # fmt: skip
        wait_for(self._accepts, "the server to listen")

    def start_runner(self):
        self.runner = self._start("worker", "manage.py", "run_turns")

    def stop_runner(self):
        """It is gone when this returns."""
        kill(self.runner)
        self.runner = None

    def mend(self, answers):
        """Start again what a test that failed half-way left dead. The runner runs where it
        `answers`."""
        if self.web.poll() is not None:
            self.start_web()
        if self.runner and (not answers or self.runner.poll() is not None):
            self.stop_runner()
        if answers and not self.runner:
            self.start_runner()

    def workers(self):
        """The cluster that reads documents, for the length of a `with`."""
        return workers(self.home, **self._environment)

    def _start(self, role, *command):
        process = started(self.home, role, *command, **self._environment)
        return self._stack.enter_context(process)

    def _accepts(self):
        assert self.web.poll() is None, (self.home / "web.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def fill():
    demo.load()
    for revision in Revision.objects.all():
        tasks.process(revision.pk)


class Rows:
    """The rows that are there now; `sweep` deletes those that came later."""

    def __init__(self):
        self._statements = [
            f"DELETE FROM {connection.ops.quote_name(model._meta.db_table)}{self._later(model)}"
            for model in apps.get_models(include_auto_created=True)
            if model._meta.managed and not model._meta.proxy
        ]

    def _later(self, model):
        """Keys grow; where they are none that do, a table that is filled already is left alone."""
        field = model._meta.pk_fields[0]
        last = model._base_manager.order_by(f"-{field.attname}").values_list(field.attname).first()
        if last is None:
            return ""
        key = connection.ops.quote_name(field.column)
        return f" WHERE {key} > {last[0]}" if isinstance(last[0], int) else " WHERE false"

    def sweep(self):
        with transaction.atomic(), connection.cursor() as cursor:  # keys are checked at its end
            # Who writes to a conversation locks it first: so does who deletes.
            cursor.execute("SELECT 1 FROM chat_conversation FOR UPDATE")
            cursor.execute("; ".join(self._statements))


@pytest.fixture(scope="package")
def transactional_db(django_db_setup, django_db_blocker):
    """For all tests of pages: reading the documents anew for each module would take minutes."""
    with django_db_blocker.unblock():
        yield
        django_db_setup.restore()


@pytest.fixture(scope="package")
def shared_site(transactional_db, tmp_path_factory):
    home = tmp_path_factory.mktemp("site")
    with override_settings(MEDIA_ROOT=home / "files"):
        fill()
        rows = Rows()
        with Site(home) as running:
            yield running, rows


@pytest.fixture
def site(shared_site, request):
    running, rows = shared_site
    running.mend(answers="unanswered" not in request.fixturenames)
    yield running
    rows.sweep()


@pytest.fixture
def unanswered(site):
    """The site without its runner, for every test of a module."""
    return site


@pytest.fixture(scope="package")
def chromium():
    from playwright.sync_api import expect, sync_playwright

    if not CHROMIUM.exists() and os.environ.get("OPSDESK_REQUIRE_BROWSER") != "1":
        pytest.skip("there is no chromium")
    # Playwright runs an event loop in this thread, in which Django would refuse its database.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        expect.set_options(timeout=30_000)  # for what can take longer a test says so
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        connections.close_all()  # Django keeps others beside Playwright's loop than without it
        browser.close()
    connections.close_all()  # what a killed server left


def sign_in(page, user, url=""):
    """Make `user` the one who sits at `page`, which is at the site already, or at `url`."""
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    value = client.cookies[name].value
    root = urljoin(url or page.url, "/")
    page.context.add_cookies([{"name": name, "value": value, "url": root}])


@pytest.fixture
def browse(chromium, site):
    """`browse(**options)`: an empty page of a new browser; no script may have failed by the end.

    `page.problems` has all errors of its console.
    """
    contexts, broken = [], []

    def browse(**options):
        context = chromium.new_context(
            **{"base_url": site.url, "viewport": DESKTOP, "locale": "zh-CN", **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.problems = problems = []

        def told(line):
            if "Content Security Policy" in line.text:
                broken.append(line.text)
            if line.type == "error":
                problems.append(line.text)

        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("console", told)
        return page

    yield browse
    for context in contexts:
        context.close()
    assert broken == []


@pytest.fixture
def visit(browse):
    """`visit(**options)`: the chat page of a new visitor."""

    def visit(**options):
        page = browse(**options)
        page.goto("/")
        page.wait_for_selector("#empty:visible")
        return page

    return visit


@pytest.fixture
def page(visit):
    return visit()


@pytest.fixture
def staff(browse, site):
    """`staff(user, path, **options)`: that page, with `user` signed in."""

    def staff(user, path="/admin/", **options):
        page = browse(**options)
        sign_in(page, user, site.url)
        page.goto(path)
        return page

    return staff


@pytest.fixture
def agent(site):
    """A superuser on duty for the length of a test."""
    user = User.objects.create_superuser("lin", first_name="林岚")
    Agent.objects.create(user=user, on_duty=True, seen_at=timezone.now())
    return user

"""Pages in Chromium, against running processes that know the demo documents."""

import os
import socket
from contextlib import ExitStack

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections
from django.test import Client, override_settings
from django.utils import timezone

from handoff.models import Agent
from knowledge import demo, tasks
from knowledge.models import Revision
from tests.browser import ARGUMENTS, CHROMIUM, started, wait_for

DESKTOP = {"width": 1280, "height": 800}


class Site:
    """A web process and a runner that can be stopped and come back at the same address."""

    def __init__(self, home):
        self.home = home
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.web = self.runner = None
        self._stack = ExitStack()

    def __enter__(self):
        self.start_web()
        self.start_runner()
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

    def _start(self, role, *command):
        return self._stack.enter_context(started(self.home, role, *command))

    def _accepts(self):
        assert self.web.poll() is None, (self.home / "web.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def fill():
    demo.load()
    for revision in Revision.objects.all():
        tasks.process(revision.pk)


@pytest.fixture(scope="module")
def transactional_db(django_db_setup, django_db_blocker):
    """For the whole module: parsing the documents anew for every test would take minutes."""
    with django_db_blocker.unblock():
        yield
        call_command("flush", interactive=False, verbosity=0)


@pytest.fixture(scope="module")
def site(transactional_db, tmp_path_factory):
    home = tmp_path_factory.mktemp("site")
    with override_settings(MEDIA_ROOT=home / "files"):
        fill()
        with Site(home) as running:
            yield running


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    if not CHROMIUM.exists() and os.environ.get("OPSDESK_REQUIRE_BROWSER") != "1":
        pytest.skip("there is no chromium")
    # Playwright runs an event loop in this thread, in which Django would refuse its database.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        connections.close_all()  # Django keeps others beside Playwright's loop than without it
        browser.close()


def sign_in(page, user):
    """Make `user` the one who sits at `page`."""
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": page.url}])


@pytest.fixture
def visit(chromium, site):
    """`visit(**options)`: the chat page of a new visitor; no script may have failed by the end."""
    contexts, problems = [], []

    def visit(**options):
        context = chromium.new_context(
            **{"base_url": site.url, "viewport": DESKTOP, "locale": "zh-CN", **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text)
                if "Content Security Policy" in line.text else None)  # fmt: skip
        page.goto("/")
        page.wait_for_selector("#empty:visible")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def page(visit):
    return visit()


@pytest.fixture
def agent(site):
    """A superuser on duty for the length of a test."""
    user, _made = User.objects.get_or_create(
        username="lin",
        defaults={"is_staff": True, "is_superuser": True, "first_name": "林岚"},
    )
    Agent.objects.create(user=user, on_duty=True, seen_at=timezone.now())
    yield user
    Agent.objects.all().delete()

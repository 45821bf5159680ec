import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import aauthenticate, authenticate
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.http import HttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from opsdesk.security import FORM_BYTES, BodyLimit, security_headers
from opsdesk.throttling import Slots

LOGIN = "/admin/login/"


@pytest.fixture(autouse=True)
def quick(settings):
    settings.LOGIN_TRIES = 3


@pytest.fixture
def user():
    return User.objects.create_superuser("admin", password="right")


def log_in(client, password, username="admin", address="10.0.0.1", **headers):
    return client.post(
        LOGIN, {"username": username, "password": password}, REMOTE_ADDR=address, **headers
    )


def directives(response):
    policy = response["Content-Security-Policy"]
    return {name: sources for name, *sources in map(str.split, policy.split(";"))}


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", LOGIN, "/nowhere", "/admin/jsi18n/", "/api/docs/"])
def test_every_response_is_guarded(client, path):
    response = client.get(path)
    policy = directives(response)
    for name in ("default-src", "script-src", "style-src"):
        assert policy[name] == ["'self'"]
    assert policy["connect-src"] == ["'self'", "ws://testserver"]
    for name in ("object-src", "base-uri", "frame-ancestors"):
        assert policy[name] == ["'none'"]
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in response["Permissions-Policy"]


def test_a_wrong_host_is_refused_and_guarded(client, settings):
    settings.ALLOWED_HOSTS = ["ops.example"]
    response = client.get("/healthz", headers={"host": "evil.example"})
    assert response.status_code == 400 or "evil" not in response["Content-Security-Policy"]


def test_sockets_are_encrypted_behind_https():
    response = security_headers(lambda request: HttpResponse())(
        RequestFactory().get("/", secure=True)
    )
    assert directives(response)["connect-src"] == ["'self'", "wss://testserver"]


async def test_guards_an_asynchronous_view_too():
    async def view(request):
        return HttpResponse()

    response = await security_headers(view)(AsyncRequestFactory().get("/"))
    assert "default-src" in directives(response)


@pytest.mark.django_db
def test_the_admin_has_nothing_inline(client, user):
    client.force_login(user)
    for path in ("/admin/", "/admin/auth/user/", f"/admin/auth/user/{user.pk}/change/"):
        html = client.get(path).content.decode()
        assert "<script>" not in html
        assert "<style" not in html
        assert " style=" not in html
        assert " onclick=" not in html


@pytest.mark.django_db
class TestLoginThrottling:
    def test_after_failures_even_the_right_password_waits(self, client, user, settings):
        for _ in range(settings.LOGIN_TRIES):
            refused = log_in(client, "wrong")
        blocked = log_in(client, "right")
        assert blocked.status_code == 200
        assert blocked.context["form"].errors == refused.context["form"].errors
        # Another way to write the name does not help, another address does.
        assert log_in(client, "right", username="ＡＤＭＩＮ").status_code == 200
        assert log_in(client, "right", address="10.0.0.2").status_code == 302

    def test_a_header_does_not_make_another_address(self, client, user, settings):
        for n in range(settings.LOGIN_TRIES):
            log_in(client, "wrong", headers={"x-forwarded-for": f"10.9.9.{n}"})
        assert log_in(client, "right", headers={"x-forwarded-for": "10.8.8.8"}).status_code == 200

    def test_an_address_that_tries_every_account_is_stopped(self, client, user, settings):
        for n in range(settings.LOGIN_TRIES * 6):
            log_in(client, "wrong", username=f"user{n}")
        assert log_in(client, "right").status_code == 200
        assert log_in(client, "right", address="10.0.0.2").status_code == 302

    def test_success_forgives(self, client, user, settings):
        for _ in range(2):
            for _ in range(settings.LOGIN_TRIES - 1):
                log_in(client, "wrong")
            assert log_in(client, "right").status_code == 302
            client.logout()

    def test_it_unlocks_after_a_while(self, client, user, settings):
        for _ in range(settings.LOGIN_TRIES):
            log_in(client, "wrong")
        assert log_in(client, "right").status_code == 200
        with connection.cursor() as cursor:
            cursor.execute("UPDATE opsdesk_cache SET expires = now() - interval '1 second'")
        assert log_in(client, "right").status_code == 302

    def test_programs_are_not_throttled(self, user, settings):
        for _ in range(settings.LOGIN_TRIES + 1):
            assert authenticate(username="admin", password="wrong") is None
        assert authenticate(username="admin", password="right") == user


@pytest.mark.django_db(transaction=True)
def test_the_asynchronous_door_is_the_same(settings):
    user = User.objects.create_user("admin", password="right")

    async def knock(password):
        request = RequestFactory().get("/")
        try:
            return await aauthenticate(request, username="admin", password=password)
        finally:
            await sync_to_async(lambda: connection.close())()

    for _ in range(settings.LOGIN_TRIES - 1):
        assert asyncio.run(knock("wrong")) is None
    assert asyncio.run(knock("right")) == user
    for _ in range(settings.LOGIN_TRIES):
        asyncio.run(knock("wrong"))
    assert asyncio.run(knock("right")) is None


@pytest.mark.django_db(transaction=True)
def test_simultaneous_tries_get_no_more_than_the_slots():
    barrier = threading.Barrier(12)

    def take(_):
        barrier.wait()
        try:
            return Slots("race", count=4, seconds=60).take()
        finally:
            connection.close()

    with ThreadPoolExecutor(12) as threads:
        taken = list(threads.map(take, range(12)))
    assert len({key for key in taken if key}) == 4
    assert sum(key is not None for key in taken) == 4
    cache.clear()


def exchange(settings, pieces, headers=()):
    """What a client that sends a body in `pieces` hears, and what of it reached Django."""
    settings.UPLOAD_MAX_BYTES = 1024**2
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = False
    rest, sent, stored = iter(messages), [], []

    async def receive():
        return next(rest)

    async def send(message):
        sent.append(message)

    async def django(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            stored.append(message["body"])
            if not message["more_body"]:
                return await send({"type": "http.response.start", "status": 200, "headers": []})

    scope = {"type": "http", "method": "POST", "path": "/api/v1/documents/", "query_string": b""}
    scope["headers"] = [(b"accept-language", b"zh-hans"), *headers]
    asyncio.run(BodyLimit(django)(scope, receive, send))
    return sent, b"".join(stored)


def test_a_file_of_the_largest_size_passes(settings):
    body = b"x" * (1024**2 + FORM_BYTES)
    sent, stored = exchange(settings, [body[:1000], body[1000:]])
    assert sent[0]["status"] == 200 and stored == body


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("pieces", [3, 200])
def test_a_body_that_is_too_large_is_refused_unstored(settings, declared, pieces):
    headers = [(b"content-length", str(pieces * 1024**2).encode())] if declared else []
    sent, stored = exchange(settings, [b"x" * 1024**2] * pieces, headers)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 413
    assert "1 MB" in json.loads(sent[1]["body"])["detail"]
    assert len(stored) <= (0 if declared else 1024**2 + FORM_BYTES)
    assert b"content-security-policy" in {name.lower() for name, _ in sent[0]["headers"]}

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import RequestFactory
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.test import APIRequestFactory
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from opsdesk.models import ApiToken, digest
from opsdesk.tokens import TokenAuthentication

pytestmark = pytest.mark.django_db


@pytest.fixture
def user():
    return User.objects.create_user("王五", password="correct horse")


def issue(user, **fields):
    token = ApiToken(user=user, name="监控", **fields)
    raw = token.generate()
    token.save()
    return token, raw


class WhoView(APIView):
    def get(self, request):
        return Response(request.user.username)

    post = get


class SearchView(WhoView):
    token_scope = "read"


def ask(view, method="get", header="", **headers):
    request = getattr(APIRequestFactory(), method)("/", HTTP_AUTHORIZATION=header, **headers)
    return view.as_view()(request)


def test_the_default_authentication_is_ours():
    assert api_settings.DEFAULT_AUTHENTICATION_CLASSES[0] is TokenAuthentication


@pytest.mark.parametrize("keyword", ["Bearer", "Token", "bearer"])
def test_signs_in(user, keyword):
    token, raw = issue(user)
    response = ask(WhoView, header=f"{keyword} {raw}")
    assert (response.status_code, response.data) == (200, "王五")
    token.refresh_from_db()
    assert token.last_used_at is not None


def test_only_the_digest_is_kept(user):
    token, raw = issue(user)
    assert token.digest == digest(raw)
    kept = [str(value) for value in ApiToken.objects.filter(pk=token.pk).values_list()[0]]
    assert not any(raw in value for value in kept)
    assert raw.startswith(token.prefix)
    assert len(token.prefix) < len(raw) / 3


def test_a_stranger_is_asked_for_a_token():
    response = ask(WhoView)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer a b", "Bearer wrong", "Token 令牌".encode().decode("latin1")]
)
def test_a_wrong_token_is_refused(user, header):
    issue(user)
    assert ask(WhoView, header=header).status_code == 401


def test_expired_revoked_and_inactive_are_refused(user):
    _, expired = issue(user, expires_at=timezone.now() - timedelta(seconds=1))
    _, later = issue(user, expires_at=timezone.now() + timedelta(hours=1))
    revoked, raw = issue(user)
    assert ApiToken.objects.filter(pk=revoked.pk).revoke() == 1
    assert ApiToken.objects.filter(pk=revoked.pk).revoke() == 0
    assert ask(WhoView, header=f"Bearer {expired}").status_code == 401
    assert ask(WhoView, header=f"Bearer {raw}").status_code == 401
    assert ask(WhoView, header=f"Bearer {later}").status_code == 200
    User.objects.update(is_active=False)
    assert ask(WhoView, header=f"Bearer {later}").status_code == 401


def test_the_refusal_says_the_same_whatever_is_wrong(user):
    _, expired = issue(user, expires_at=timezone.now())
    said = []
    for raw in (expired, "opsdesk_unknown"):
        request = RequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {raw}")
        with pytest.raises(AuthenticationFailed) as error:
            TokenAuthentication().authenticate(request)
        said.append(str(error.value.detail))
    assert said[0] == said[1]


def test_a_reading_token_only_reads(user):
    _, reads = issue(user)
    _, writes = issue(user, scope="write")
    assert ask(WhoView, "post", header=f"Bearer {reads}").status_code == 403
    assert ask(SearchView, "post", header=f"Bearer {reads}").status_code == 200
    assert ask(WhoView, "post", header=f"Bearer {writes}").status_code == 200


def test_the_last_use_is_not_written_at_every_request(user, django_assert_num_queries):
    _, raw = issue(user)
    ask(WhoView, header=f"Bearer {raw}")
    request = RequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {raw}")
    with django_assert_num_queries(1):
        TokenAuthentication().authenticate(request)


def test_a_session_needs_the_csrf_token(client, user):
    client.force_login(user)
    client.handler.enforce_csrf_checks = True
    view = WhoView.as_view()
    request = RequestFactory(enforce_csrf_checks=True).post("/")
    request._dont_enforce_csrf_checks = False
    request.user = user
    assert view(request).status_code == 403


def test_too_many_requests_are_told_when_to_come_back(user, monkeypatch):
    class OneAMinute(UserRateThrottle):
        rate = "1/min"

    class BusyView(WhoView):
        throttle_classes = [OneAMinute]

    _, raw = issue(user)
    assert ask(BusyView, header=f"Bearer {raw}").status_code == 200
    response = ask(BusyView, header=f"Bearer {raw}")
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= 60
    assert "限流" in response.data["detail"]


def test_the_command_prints_a_new_token(user, capsys):
    call_command("token", "王五", "--name", "夜间导入", "--write")
    raw = capsys.readouterr().out.strip()
    token = ApiToken.objects.get(digest=digest(raw))
    assert (token.name, token.scope, token.user) == ("夜间导入", "write", user)


def test_the_schema_names_the_token_and_the_page_has_no_inline_script(client):
    schema = client.get("/api/v1/schema/?format=json").json()
    assert schema["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
    html = client.get("/api/docs/").content.decode()
    assert "<style" not in html
    scripts = re.findall(r"<script[^>]*>", html)
    assert len(scripts) == 3
    assert all(" src=" in script for script in scripts)
    assert "SwaggerUIBundle" in client.get("/api/docs/?script=").content.decode()

import re

import pytest
from django.contrib import admin
from django.contrib.admin.utils import label_for_field
from django.contrib.auth.models import Group, Permission, User
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from django.views.defaults import server_error
from django_q.models import Failure, OrmQ, Schedule, Success

from opsdesk.models import ApiToken, digest
from opsdesk.site import OpsDeskAdminSite

pytestmark = pytest.mark.django_db
HERE = "tests.opsdesk.test_admin_site"
ADD = "/admin/opsdesk/apitoken/add/"


@pytest.fixture
def boss(client):
    user = User.objects.create_superuser("boss")
    client.force_login(user)
    return user


@pytest.fixture
def clerk(client):
    """Staff who may issue and end tokens, and nothing else."""
    user = User.objects.create_user("clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__model="apitoken"))
    client.force_login(user)
    return user


def waiting(request):
    return {
        "title": "等人接手",
        "rows": [
            {"label": "排队 <1>", "value": 3, "url": "/admin/auth/user/", "level": "error"},
            {"label": "今天", "value": 0},
        ],
    }


def for_superusers(request):
    return {"title": "秘密", "rows": []} if request.user.is_superuser else None


def issue(user, name="x"):
    token = ApiToken(user=user, name=name)
    raw = token.generate()
    token.save()
    return token, raw


class TestSite:
    def test_ours_holds_the_models(self):
        assert isinstance(admin.site, OpsDeskAdminSite)
        assert all(admin.site.is_registered(model) for model in (User, Group, ApiToken, Failure))
        assert not any(admin.site.is_registered(model) for model in (OrmQ, Schedule, Success))

    def test_every_page_links_chat_api_and_the_other_language(self, client, boss):
        html = client.get("/admin/").content.decode()
        assert 'lang="zh-hans"' in html
        assert 'href="/api/docs/"' in html
        assert '<a href="/">' in html
        assert 'value="en"' in html

    def test_the_language_switches(self, client, boss):
        client.post(reverse("set_language"), {"language": "en", "next": "/admin/"})
        html = client.get("/admin/").content.decode()
        assert '<html lang="en"' in html
        assert "Log out" in html

    def test_sign_in_speaks_chinese(self, client):
        page = client.get("/admin/login/")
        assert "运维智能客服" in page.content.decode()
        refused = client.post("/admin/login/", {"username": "nobody", "password": "x"})
        assert "暂停登录" in str(refused.context["form"].errors)

    def test_no_django_branding_is_left(self, client, boss):
        assert "Django" not in client.get("/admin/").content.decode()


class TestStartPanels:
    def test_shows_what_waits(self, client, boss, settings):
        settings.START_PANELS = [f"{HERE}.waiting"]
        html = client.get("/admin/").content.decode()
        assert "等人接手" in html
        assert '<a href="/admin/auth/user/">排队 &lt;1&gt;</a>' in html
        assert '<li class="error">' in html
        assert html.index("等人接手") < html.index('class="app-')

    def test_a_panel_may_hide_itself(self, client, settings, clerk):
        settings.START_PANELS = [f"{HERE}.for_superusers"]
        assert "秘密" not in client.get("/admin/").content.decode()
        client.force_login(User.objects.create_superuser("boss"))
        assert "秘密" in client.get("/admin/").content.decode()

    def test_the_panels_of_the_apps_render(self, client, boss):
        assert client.get("/admin/").status_code == 200


class TestTokens:
    def test_is_shown_once(self, client, boss):
        form = {"user": boss.pk, "name": "监控", "scope": "read"}
        page = client.post(ADD, form)
        token = ApiToken.objects.get()
        raw = page.context["raw"]
        assert digest(raw) == token.digest
        assert raw in page.content.decode()
        assert "no-store" in page["Cache-Control"]
        for path in ("", f"{token.pk}/change/"):
            assert raw not in client.get(f"/admin/opsdesk/apitoken/{path}").content.decode()

    def test_changing_it_keeps_the_secret(self, client, boss):
        token, _ = issue(boss)
        url = f"/admin/opsdesk/apitoken/{token.pk}/change/"
        client.post(url, {"name": "new", "scope": "write"})
        after = ApiToken.objects.get()
        assert (after.name, after.scope, after.digest) == ("new", "write", token.digest)

    def test_the_user_of_a_token_never_changes(self, client, boss):
        token, _ = issue(boss)
        other = User.objects.create_user("other")
        url = f"/admin/opsdesk/apitoken/{token.pk}/change/"
        client.post(url, {"name": "x", "scope": "read", "user": other.pk})
        assert ApiToken.objects.get().user == boss

    def test_revokes(self, client, boss):
        token, _ = issue(boss)
        kept, _ = issue(boss)
        url = "/admin/opsdesk/apitoken/"
        page = client.post(url, {"action": "revoke", "_selected_action": [token.pk]}, follow=True)
        assert set(ApiToken.objects.valid()) == {kept}
        assert "已吊销 1 个令牌" in page.content.decode()

    def test_staff_issue_for_themselves_and_see_only_their_own(self, client, clerk):
        boss = User.objects.create_superuser("boss")
        theirs, _ = issue(boss, "of the boss")
        page = client.post(ADD, {"user": boss.pk, "name": "mine", "scope": "write"})
        assert page.context["raw"]
        assert ApiToken.objects.get(name="mine").user == clerk
        html = client.get("/admin/opsdesk/apitoken/").content.decode()
        assert "mine" in html
        assert "of the boss" not in html
        change = client.get(f"/admin/opsdesk/apitoken/{theirs.pk}/change/")
        assert change.status_code == 302


class TestErrorPages:
    @pytest.mark.parametrize(
        ("language", "words"), [("zh-hans", "这个地址"), ("en", "nothing at this")]
    )
    def test_not_found(self, client, language, words):
        page = client.get("/nowhere/at/all", headers={"accept-language": language})
        assert page.status_code == 404
        assert words in page.content.decode()

    def test_csrf(self, boss):
        page = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "x"})
        assert page.status_code == 403
        assert "表单已失效" in page.content.decode()

    def test_an_error_page_needs_no_middleware(self):
        page = server_error(RequestFactory().get("/"))  # as after any error: no middleware ran
        assert page.status_code == 500
        assert "我们这边出错了" in page.content.decode()


@pytest.mark.parametrize("kind", ["user", "group"])
def test_permissions_are_said_in_words(client, boss, kind):
    page = {"user": f"user/{boss.pk}/change/", "group": "group/add/"}[kind]
    said = client.get(f"/admin/auth/{page}").content.decode()
    assert "可以查看：用户" in said
    assert not re.search(r"\| Can [a-z]", said)


def test_every_column_is_named_in_chinese(rf, boss):
    request = rf.get("/")
    request.user = boss
    for model, pages in admin.site._registry.items():
        for name in pages.get_list_display(request):
            label = str(label_for_field(name, model, pages))
            assert name == "__str__" or re.search("[一-鿿]", label), f"{model.__name__}: {label}"


def test_failed_tasks_are_told_of_in_chinese(client, boss):
    at = timezone.now()
    failure = Failure.objects.create(
        id="1" * 32, name="x", func="knowledge.tasks.process", group="revision:7", args=(7,),
        started=at, stopped=at, success=False, result="no file : Traceback",
    )  # fmt: skip
    pages = "/admin/django_q/failure/"
    assert "revision:7" in client.get(pages).content.decode()
    page = client.get(f"{pages}{failure.pk}/change/").content.decode()
    assert "尝试次数" in page
    assert "no file : Traceback" in page
    assert "Attempt" not in page


def test_rows_that_link_two_others_are_named_by_them(client, boss):
    group = Group.objects.create(name="运维组")
    group.permissions.add(Permission.objects.get(codename="view_apitoken"))
    page = client.get(f"/admin/auth/group/{group.pk}/delete/").content.decode()
    assert "组 – 权限" in page
    assert "object (" not in page

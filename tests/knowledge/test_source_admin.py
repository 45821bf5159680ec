"""The curators' pages of sources."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django_q.models import OrmQ

from knowledge.models import Document, KnowledgeBase, Role, Source
from knowledge.sources import running
from opsdesk.sealing import seal, unseal
from tests.knowledge.feishu_server import APP_ID, APP_SECRET, feishu_server
from tests.knowledge.web_server import Answer, web_server

pytestmark = pytest.mark.django_db
LIST = "/admin/knowledge/source/"


@pytest.fixture(autouse=True)
def limits(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    settings.INBOX = tmp_path / "inbox"
    settings.FETCH_PRIVATE, settings.FETCH_DELAY = ["127.0.0.1"], 0
    settings.LANGUAGE_CODE = "en"
    cache.clear()


@pytest.fixture
def base():
    return KnowledgeBase.objects.create(slug="ops", name="Ops")


@pytest.fixture
def site():
    with web_server() as server:
        server.put("/a", "网关重启", "重启网关服务时执行命令 gatewayctl restart 即可完成操作。")
        yield server


def curator_of(base, kind=Role.Kind.CURATOR):
    user = User.objects.create_user("mei", is_staff=True)
    group = Group.objects.create(name="team")
    user.groups.add(group)
    Role.objects.create(knowledge_base=base, group=group, kind=kind)
    return user


def web_form(base, address, **more):
    return {
        "knowledge_base": base.pk,
        "name": "手册",
        "every": "1440",
        "approve": "on",
        "options-address": address,
        "options-depth": "0",
        "options-below": "",
        "options-pages": "10",
        **more,
    }


def look(source):
    while running.run(source.pk):
        pass
    source.refresh_from_db()


def test_a_kind_is_chosen_then_tried_then_added(admin_client, base, site):
    page = admin_client.get(f"{LIST}add/").content.decode()
    assert all(f"?kind={kind}" in page for kind in ("web", "sitemap", "link", "feishu", "folder"))
    form = web_form(base, f"{site.url}/a")
    tried = admin_client.post(f"{LIST}add/?kind=web", {**form, "_try": "1"})
    assert tried.status_code == 200 and not Source.objects.exists()
    assert tried.context["trial"]["title"] == "网关重启"
    assert "gatewayctl restart" in tried.context["trial"]["text"]
    added = admin_client.post(f"{LIST}add/?kind=web", form, follow=True)
    source = Source.objects.get()
    assert source.options["address"] == f"{site.url}/a" and source.state == "queued"
    assert OrmQ.objects.count() == 1 and "<progress" in added.content.decode()
    look(source)
    page = admin_client.get(f"{LIST}{source.pk}/change/").content.decode()
    assert "网关重启" in page and "<progress" not in page
    assert "手册" in admin_client.get(LIST).content.decode()


def test_a_trial_says_what_is_wrong(admin_client, base, site, settings):
    site.pages["/b"] = Answer("", 403)
    form = {**web_form(base, f"{site.url}/b"), "_try": "1"}
    assert "403" in admin_client.post(f"{LIST}add/?kind=web", form).context["trial"]["error"]
    settings.FETCH_PRIVATE = []
    form = {**web_form(base, f"{site.url}/a"), "_try": "1"}
    error = admin_client.post(f"{LIST}add/?kind=web", form).context["trial"]["error"]
    assert "OPSDESK_FETCH_PRIVATE" in error


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"options-address": "ftp://x/"}, {"options-depth": "9"}, {"every": "7"}]
)
def test_a_wrong_form_is_shown_again(admin_client, base, wrong):
    form = {**web_form(base, "https://docs.example.com/"), **wrong}
    answer = admin_client.post(f"{LIST}add/?kind=web", form)
    assert answer.status_code == 200 and 'class="errorlist"' in answer.content.decode()
    assert not Source.objects.exists()


def test_settings_are_changed_and_looked_at_anew(admin_client, base, site):
    admin_client.post(f"{LIST}add/?kind=web", web_form(base, f"{site.url}/a"))
    source = Source.objects.get()
    look(source)
    OrmQ.objects.all().delete()
    change = f"{LIST}{source.pk}/change/"
    admin_client.post(change, {**web_form(base, f"{site.url}/a"), "name": "新名"})
    assert Source.objects.get().name == "新名" and not OrmQ.objects.exists()
    admin_client.post(change, web_form(base, f"{site.url}/b"))
    assert Source.objects.get().options["address"].endswith("/b") and OrmQ.objects.count() == 1


def test_look_now_pause_and_go_on(admin_client, base, site):
    admin_client.post(f"{LIST}add/?kind=web", web_form(base, f"{site.url}/a"))
    source = Source.objects.get()
    look(source)
    assert admin_client.get(f"{LIST}{source.pk}/look/").status_code == 405
    admin_client.post(f"{LIST}{source.pk}/look/")
    assert Source.objects.get().state == "queued"
    admin_client.post(f"{LIST}{source.pk}/pause/")
    assert not Source.objects.get().enabled and not running.run(source.pk)
    admin_client.post(f"{LIST}{source.pk}/pause/")
    assert Source.objects.get().enabled and Source.objects.get().state == "queued"


@pytest.mark.parametrize(("choice", "retired"), [("keep", False), ("retire", True)])
def test_deleting_asks_what_becomes_of_the_documents(admin_client, base, site, choice, retired):
    admin_client.post(f"{LIST}add/?kind=web", web_form(base, f"{site.url}/a"))
    source = Source.objects.get()
    look(source)
    delete = f"{LIST}{source.pk}/delete/"
    assert "1 document" in admin_client.get(delete).content.decode()
    admin_client.post(delete, {"documents": ""})
    assert Source.objects.exists()
    admin_client.post(delete, {"documents": choice})
    assert not Source.objects.exists()
    assert (Document.objects.get().retired_at is not None) is retired


def test_states_are_told_to_the_page(admin_client, base, site):
    admin_client.post(f"{LIST}add/?kind=web", web_form(base, f"{site.url}/a"))
    source = Source.objects.get()
    states = admin_client.get(f"{LIST}states/?ids={source.pk},999,x").json()["sources"]
    assert list(states) == [str(source.pk)] and "<progress" in states[str(source.pk)]


def test_items_with_errors_are_listed(admin_client, base, site):
    site.pages["/b.md"] = Answer("# b\n\nb\n")
    form = {
        "knowledge_base": base.pk,
        "name": "表",
        "every": "0",
        "options-addresses": f"{site.url}/b.md {site.url}/none.csv",
    }
    admin_client.post(f"{LIST}add/?kind=link", form)
    source = Source.objects.get()
    look(source)
    errors = admin_client.get(f"{LIST}{source.pk}/change/?items=errors")
    assert [item.key for item in errors.context["items"]] == [f"{site.url}/none.csv"]


def test_a_curator_has_the_sources_of_their_bases(client, base, site):
    other = KnowledgeBase.objects.create(slug="other", name="Other")
    client.force_login(curator_of(base))
    assert client.post(f"{LIST}add/?kind=web", web_form(base, f"{site.url}/a")).status_code == 302
    refused = client.post(f"{LIST}add/?kind=web", web_form(other, f"{site.url}/a"))
    assert refused.status_code == 200 and Source.objects.count() == 1
    theirs = Source.objects.create(
        knowledge_base=other, kind="link", name="x", options={"addresses": ""}
    )
    assert "/change/" in client.get(LIST).content.decode()
    for path in ("look", "pause", "connect"):
        method = client.get if path == "connect" else client.post
        assert method(f"{LIST}{theirs.pk}/{path}/").status_code in {403, 404}
    assert client.get(f"{LIST}{theirs.pk}/change/").status_code in {302, 403}
    assert client.post(f"{LIST}{theirs.pk}/delete/", {"documents": "keep"}).status_code != 200
    assert Source.objects.filter(pk=theirs.pk, enabled=True, state="idle").exists()


def test_a_viewer_sees_and_changes_nothing(client, base, site):
    source = Source.objects.create(
        knowledge_base=base, kind="link", name="x", options={"addresses": "https://a.example/x"}
    )
    client.force_login(curator_of(base, Role.Kind.VIEWER))
    page = client.get(f"{LIST}{source.pk}/change/")
    assert page.status_code == 200 and "_save" not in page.content.decode()
    assert client.get(f"{LIST}add/?kind=web").status_code == 403
    for path in ("look/", "pause/", "delete/", "change/"):
        assert client.post(f"{LIST}{source.pk}/{path}", {"documents": "keep"}).status_code == 403


def test_an_inbox_can_be_paused_but_not_deleted(admin_client, base):
    source = Source.objects.create(
        knowledge_base=base, kind="folder", name="x", options={"path": "/x"}, memory={"inbox": True}
    )
    assert admin_client.get(f"{LIST}{source.pk}/delete/").status_code == 403
    page = admin_client.get(f"{LIST}{source.pk}/change/").content.decode()
    assert "manage.py watch" in page  # which does not run


# --- Feishu --------------------------------------------------------------------------


def feishu_form(base, server, **more):
    return {
        "knowledge_base": base.pk,
        "name": "飞书",
        "every": "60",
        "approve": "on",
        "options-server": "other",
        "options-other_server": server.url,
        "options-app_id": APP_ID,
        "options-app_secret": APP_SECRET,
        "options-identity": "user",
        "options-place": "https://x.feishu.cn/docx/a",
        **more,
    }


def test_a_secret_is_kept_sealed_and_never_shown(admin_client, base):
    with feishu_server() as server:
        form = feishu_form(base, server, **{"options-identity": "app"})
        admin_client.post(f"{LIST}add/?kind=feishu", form)
        source = Source.objects.get()
        assert APP_SECRET not in source.secret and APP_SECRET not in str(source.options)
        assert unseal(source.secret) == {"app_secret": APP_SECRET}
        change = f"{LIST}{source.pk}/change/"
        assert APP_SECRET not in admin_client.get(change).content.decode()
        form["options-app_secret"] = ""
        admin_client.post(change, {**form, "name": "改名"})
        assert unseal(Source.objects.get().secret) == {"app_secret": APP_SECRET}


def test_a_person_signs_in_and_comes_back(admin_client, base):
    with feishu_server() as server:
        server.add("a", "手册", b"x", type="file")
        admin_client.post(f"{LIST}add/?kind=feishu", feishu_form(base, server))
        source = Source.objects.get()
        assert source.state == "idle"  # nobody can read it yet
        away = admin_client.get(f"{LIST}{source.pk}/connect/").headers["Location"]
        asked = {name: values[0] for name, values in parse_qs(urlsplit(away).query).items()}
        assert away.startswith(server.url) and asked["client_id"] == APP_ID
        assert asked["redirect_uri"] == "http://testserver/admin/knowledge/source/connected/"
        code = server.authorize(asked["redirect_uri"], asked["code_challenge"])
        back = f"{LIST}connected/?code={code}&state="
        assert admin_client.get(back + "wrong").status_code == 403
        assert admin_client.get(back + asked["state"]).status_code == 403  # used up by the wrong
        away = admin_client.get(f"{LIST}{source.pk}/connect/").headers["Location"]
        asked = {name: values[0] for name, values in parse_qs(urlsplit(away).query).items()}
        code = server.authorize(asked["redirect_uri"], asked["code_challenge"])
        admin_client.get(f"{LIST}connected/?code={code}&state={asked['state']}")
        source.refresh_from_db()
        assert unseal(source.secret)["refresh_token"] and source.state == "queued"
        # Another app's tokens are of no use to this one.
        form = feishu_form(base, server, **{"options-app_id": "cli_other"})
        admin_client.post(f"{LIST}{source.pk}/change/", form)
        assert "refresh_token" not in unseal(Source.objects.get().secret)


def test_a_secret_sealed_with_another_key_is_asked_for_again(admin_client, base, settings):
    mine, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    secret = seal({"app_secret": APP_SECRET})
    settings.SECRET_KEY = mine
    with feishu_server() as server:
        form = feishu_form(base, server, **{"options-app_secret": ""})
        options = {name.removeprefix("options-"): value for name, value in form.items()}
        source = Source.objects.create(
            knowledge_base=base, kind="feishu", name="x", secret=secret, options=options
        )
        change = f"{LIST}{source.pk}/change/"
        assert "app_secret" in admin_client.post(change, form).context["options"].errors


def test_what_is_kept_goes_to_no_other_server_unasked(client, base):
    client.force_login(curator_of(base))
    with feishu_server() as server, web_server() as elsewhere:
        form = feishu_form(base, server, **{"options-identity": "app"})
        client.post(f"{LIST}add/?kind=feishu", form)
        source = Source.objects.get()
        source.secret = seal(
            {"app_secret": APP_SECRET, "token": "kept", "until": time.time() + 3600}
        )
        source.save()
        change = f"{LIST}{source.pk}/change/"
        moved = {**form, "options-other_server": elsewhere.url, "options-app_secret": ""}
        for button in ({}, {"_try": "1"}):
            page = client.post(change, {**moved, **button})
            assert "app_secret" in page.context["options"].errors
        # With a secret for it, a trial asks there, but not with the token of here.
        moved |= {"options-app_secret": "theirs", "options-place": "https://x/wiki/space/7"}
        page = client.post(change, {**moved, "_try": "1"})
        assert page.context["trial"]["error"]
        assert not any("kept" in str(asked) for _, _, asked in elsewhere.log)
        assert unseal(Source.objects.get().secret)["token"] == "kept"

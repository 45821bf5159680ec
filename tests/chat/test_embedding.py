import json
import time

import jwt
import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ValidationError

from chat import identities, visitors
from chat.models import Conversation, WidgetSite
from knowledge.models import KnowledgeBase
from tests.chat.conftest import permission

PORTAL = "https://portal.example.com"


@pytest.fixture
def site(db):
    made = WidgetSite(name="门户", origins=f"{PORTAL}\nhttp://localhost:8123")
    made.raw = made.renew_secret()
    made.save()
    return made


def token(site, *, sub="u-7", seconds=600, key="", **claims):
    claims = {"sub": sub, "exp": int(time.time()) + seconds, **claims}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, key or site.raw, "HS256")


def embed(client, site, origin=PORTAL, **asked):
    return client.get(f"/embed/{site.key}/", {"origin": origin, **asked}, secure=True)


def identify(client, site, body):
    content = body if isinstance(body, str) else json.dumps(body)
    return client.post(f"/embed/{site.key}/identity/", content, "application/json", secure=True)


def test_only_named_origins_may_hold_the_frame(client, site):
    shown = embed(client, site)
    assert f"frame-ancestors {PORTAL}" in shown["Content-Security-Policy"].split("; ")
    assert "X-Frame-Options" not in shown
    for origin in ("https://evil.example", "", f"{PORTAL}.evil.example", "'self'", "*"):
        refused = embed(client, site, origin)
        assert refused.status_code == 403
        assert "frame-ancestors 'none'" in refused["Content-Security-Policy"]
    site.enabled = False
    site.save()
    assert embed(client, site).status_code == 404
    assert client.get("/")["X-Frame-Options"] == "DENY"


def test_cookies_of_the_frame_are_kept_for_its_site_alone(client, site):
    shown = embed(client, site)
    for name in (visitors.COOKIE, "csrftoken"):
        cookie = shown.cookies[name].OutputString()
        assert "SameSite=None; Partitioned" in cookie
        assert "Secure" in cookie
    plain = client.__class__().get(f"/embed/{site.key}/", {"origin": PORTAL})  # http://testserver
    assert "SameSite=Lax" in plain.cookies[visitors.COOKIE].OutputString()


def test_a_frame_speaks_as_asked_and_asks_its_base(client, site):
    open_, _closed = (
        KnowledgeBase.objects.create(slug=slug, name=slug, audience=audience)
        for slug, audience in (("public", "visitors"), ("staff", "signed_in"))
    )
    KnowledgeBase.objects.create(slug="other", name="other", audience="visitors")
    client.force_login(User.objects.create(username="u"))
    shown = embed(client, site, language="en", base="public")
    assert '<html lang="en">' in shown.content.decode()
    assert [base.slug for base in shown.context["bases"]] == ["public"]
    assert list(embed(client, site, base="staff").context["bases"]) == []
    site.knowledge_base = open_
    site.save()
    assert list(embed(client, site, base="other").context["bases"]) == [open_]


def test_the_script_speaks_every_language_and_may_be_included(client, db):
    script = client.get("/widget.js")
    assert script["Content-Type"].startswith("text/javascript")
    assert script["Cross-Origin-Resource-Policy"] == "cross-origin"
    for words in ("打开在线咨询", "Open the chat"):
        assert words in script.content.decode()


def test_whom_a_site_vouches_for_is_known_until_the_token_ends(client, site):
    embed(client, site)
    answer = identify(client, site, {"token": token(site)})
    assert answer.json() == {"identity": "u-7"}
    cookies = {name: morsel.value for name, morsel in client.cookies.items()}
    assert identities.known(cookies) == identities.Known(site.pk, "u-7")
    assert identify(client, site, {"token": ""}).json() == {"identity": ""}
    assert client.cookies[identities.COOKIE].value == ""
    old = {identities.COOKIE: identities.pack(site, token(site))}
    site.renew_secret()
    site.save()
    assert identities.known(old) is None


@pytest.mark.parametrize(
    "forged",
    [
        {"key": "x" * 43}, {"seconds": -60}, {"seconds": 3600}, {"sub": None}, {"sub": "  "},
        {"sub": "长" * 201}, {"exp": None}, {"sub": "a\0b"},
    ],
)  # fmt: skip
def test_what_a_site_did_not_sign_so_is_nobody(client, site, forged):
    answer = identify(client, site, {"token": token(site, **forged)})
    assert answer.status_code == 403
    assert client.cookies[identities.COOKIE].value == ""
    with pytest.raises(identities.Unverified):
        identities.verify(site, token(site, **forged))


def test_a_token_without_signature_is_nobody(site):
    with pytest.raises(identities.Unverified):
        unsigned = jwt.encode({"sub": "u", "exp": int(time.time()) + 60}, None, "none")
        identities.verify(site, unsigned)
    site.secret = ""
    with pytest.raises(identities.Unverified):
        identities.verify(site, token(site))


@pytest.mark.parametrize("body", ["", "[]", '{"token": 7}', "{" * 2000, '"' + "x" * 4000 + '"'])
def test_nonsense_makes_nobody(client, site, body):
    assert identify(client, site, body).status_code in (400, 403)


def test_a_conversation_of_somebody_known_is_theirs_on_every_browser_and_no_one_elses(site):
    nobody, known = AnonymousUser(), identities.Known(site.pk, "u-7")
    theirs = Conversation.objects.create(visitor="v" * 32, site=site, identity="u-7")
    assert list(visitors.conversations(nobody, "other", known)) == [theirs]
    assert theirs.verified
    # Whoever uses the browser next without a token, or on another site, does not find it.
    assert not visitors.conversations(nobody, "v" * 32).exists()
    other = WidgetSite.objects.create(name="b", origins="https://b.example")
    elsewhere = identities.Known(other.pk, "u-7")
    assert not visitors.conversations(nobody, "x", elsewhere).exists()


@pytest.mark.parametrize(
    "origins", ["portal.example.com", "https://a.example/path", "https://*.example", "'self'"]
)
def test_an_origin_is_an_origin(origins):
    with pytest.raises(ValidationError):
        WidgetSite(name="a", origins=f"https://b.example\n{origins}").clean_fields(
            ["knowledge_base", "secret"]
        )


def test_staff_add_a_site_and_see_its_secret_once(client, db):
    staff = User.objects.create(username="s", is_staff=True)
    staff.user_permissions.add(*(permission(f"chat.{what}_widgetsite") for what in ("add", "view")))
    client.force_login(staff)
    form = {"name": "门户", "origins": PORTAL, "enabled": "on"}
    shown = client.post("/admin/chat/widgetsite/add/", form).content.decode()
    site = WidgetSite.objects.get()
    assert site.signing_key in shown and site.key in shown
    assert site.signing_key not in site.secret
    page = client.get(f"/admin/chat/widgetsite/{site.pk}/change/").content.decode()
    assert site.key in page and site.signing_key not in page
    renew = {"action": "renew", "_selected_action": [site.pk]}
    client.post("/admin/chat/widgetsite/", renew)
    assert WidgetSite.objects.get().secret == site.secret, "without the permission to change"
    staff.user_permissions.add(permission("chat.change_widgetsite"))
    shown = client.post("/admin/chat/widgetsite/", renew).content.decode()
    assert WidgetSite.objects.get().signing_key in shown
    assert WidgetSite.objects.get().secret != site.secret

"""Feishu and Lark: a wiki, a folder or a document, exported as Word and Excel files.

The open platform's API (https://open.feishu.cn/document): a list with the time of each last
edit, then an export task for what changed. Read as the app itself, by its own credentials, or
as the person who connected it (OAuth 2.0 with PKCE).
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from knowledge.models import Source, SourceItem
from knowledge.sources.base import AddressField, Backend, Content, Found, Options
from knowledge.sources.fetching import Fetcher, Gone, retry_after
from opsdesk.errors import FetchError
from opsdesk.sealing import unseal

SERVERS = {"feishu": "https://open.feishu.cn", "lark": "https://open.larksuite.com"}
ACCOUNTS = {"feishu": "https://accounts.feishu.cn", "lark": "https://accounts.larksuite.com"}
SCOPES = "wiki:wiki:readonly drive:drive:readonly docs:document:export offline_access"
# What an export makes of each type; a file is downloaded as it is. Nobody can export the others.
EXPORTS = {"docx": "docx", "doc": "docx", "sheet": "xlsx", "bitable": "xlsx"}
IN_ADDRESS = {"docx": "docx", "docs": "doc", "sheets": "sheet", "base": "bitable", "file": "file"}

LIMITED = 99991400
TOKEN_REFUSED = {99991661, 99991663, 99991664, 99991665, 99991668, 99991671, 99991677}
SCOPE_MISSING = {99991672, 99991679}
FORBIDDEN = {131006, 1061004, 1069902, 1770032}
DELETED = {1061003, 1061007, 1069906, 131005}
JOB_FORBIDDEN, JOB_DELETED, JOB_RUNNING = {109, 110}, {111, 123}, {1, 2}

TRIES = 5
LONGEST_PAUSE = 60  # seconds, for a server that says when its limit ends
EXPORT_SECONDS = 120


class FeishuOptions(Options):
    server = forms.ChoiceField(
        label=gettext_lazy("service"),
        choices=[
            ("feishu", gettext_lazy("Feishu (feishu.cn)")),
            ("lark", "Lark (larksuite.com)"),
            ("other", gettext_lazy("another server")),
        ],
    )
    other_server = AddressField(
        label=gettext_lazy("address of the other server"), required=False, max_length=500
    )
    app_id = forms.CharField(label="App ID", max_length=100)
    app_secret = forms.CharField(
        label="App Secret",
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )
    identity = forms.ChoiceField(
        label=gettext_lazy("read as"),
        choices=[
            ("app", gettext_lazy("the app itself")),
            ("user", gettext_lazy("the person who connects it")),
        ],
        help_text=gettext_lazy("The app must be a member of the wiki, or the folder be shared."),
    )
    place = AddressField(
        label=gettext_lazy("address"),
        max_length=1000,
        help_text=gettext_lazy(
            "As in the browser: of a wiki page (with all below it), a wiki's settings (all of "
            "it), a folder, or one document."
        ),
    )

    def clean_place(self) -> str:
        place: str = self.cleaned_data["place"]
        if _place(place) is None:
            raise ValidationError(_("This is no address of a wiki, a folder or a document."))
        return place

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("server") == "other" and not data.get("other_server"):
            self.add_error("other_server", _("Say where the server is."))
        moved = self.source.pk and _server(data) != _server(self.source.options)
        if moved and not data.get("app_secret"):  # who may edit must not have it sent to them
            problem = _("Give it again: the one that is kept is of another server.")
            self.add_error("app_secret", problem)
        return data


def _server(options: dict[str, Any]) -> str:
    said: str = options.get("other_server") or ""
    return SERVERS.get(options.get("server", "")) or said.rstrip("/")


@dataclass(frozen=True)
class Place:
    kind: str  # "space", "wiki", "folder", or the type of one document
    token: str


def _place(address: str) -> Place | None:
    path = urlsplit(address).path
    if found := re.search(r"/wiki/(?:space|settings)/(\w+)", path):
        return Place("space", found[1])
    if found := re.search(r"/wiki/(\w+)", path):
        return Place("wiki", found[1])
    if found := re.search(r"/drive/folder/(\w+)", path):
        return Place("folder", found[1])
    if found := re.search(r"/(docx|docs|sheets|base|file)/(\w+)", path):
        return Place(IN_ADDRESS[found[1]], found[2])
    return None


class Feishu(Backend):
    label = gettext_lazy("Feishu documents")
    about = gettext_lazy("A wiki, a folder or a document of Feishu or Lark, behind its sign-in.")
    account = ("server", "other_server", "app_id", "identity")
    options_form = FeishuOptions
    secrets = ("app_secret",)
    connectable = True

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.server = _server(self.options)
        self.accounts = ACCOUNTS.get(self.options["server"]) or self.server
        self.sleep = time.sleep

    @contextmanager
    def opened(self, *, hurried: bool = False) -> Iterator[None]:
        with Fetcher(sleep=self.sleep) as self.fetcher:
            self.tries = 2 if hurried else TRIES
            self.longest_pause = 3 if hurried else LONGEST_PAUSE
            yield

    # --- what there is ------------------------------------------------------------

    def items(self) -> Iterator[Found]:
        self.incomplete = ""
        place = _place(self.options["place"])
        if place is None:
            raise FetchError(
                _("This is no address of a wiki, a folder or a document."), permanent=True
            )
        if place.kind == "space":
            yield from self._children(place.token, "")
        elif place.kind == "wiki":
            node = self._get("/wiki/v2/spaces/get_node", token=place.token)["node"]
            yield from self._node(node)
        elif place.kind == "folder":
            yield from self._folder(place.token)
        else:
            yield self._found(place.kind, place.token, "", "", self.options["place"])

    def _children(self, space: str, parent: str) -> Iterator[Found]:
        path = f"/wiki/v2/spaces/{space}/nodes"
        for node in self._pages(path, "items", 50, parent_node_token=parent):
            yield from self._node(node)

    def _node(self, node: dict[str, Any]) -> Iterator[Found]:
        """A page of a wiki, and all below it."""
        host = urlsplit(self.options["place"]).netloc
        url = f"https://{host}/wiki/{node['node_token']}"
        kind, token = node["obj_type"], node["obj_token"]
        if kind in EXPORTS or kind == "file":
            edited = str(node.get("obj_edit_time", ""))
            yield self._found(kind, token, node.get("title", ""), edited, url)
        if node.get("has_child") and node.get("node_type") != "shortcut":
            try:
                yield from self._children(node["space_id"], node["node_token"])
            except FetchError as error:
                if not error.permanent:
                    raise
                self._lacks(node.get("title", ""), error)

    def _folder(self, token: str) -> Iterator[Found]:
        for file in self._pages("/drive/v1/files", "files", 200, folder_token=token):
            kind, name, inner = file["type"], file.get("name", ""), file["token"]
            if kind == "shortcut":
                target = file.get("shortcut_info") or {}
                kind, inner = target.get("target_type", ""), target.get("target_token", "")
            if kind == "folder" and file["type"] != "shortcut":
                try:
                    yield from self._folder(inner)
                except FetchError as error:
                    if not error.permanent:
                        raise
                    self._lacks(name, error)
            elif kind in EXPORTS or kind == "file":
                edited = str(file.get("modified_time", ""))
                yield self._found(kind, inner, name, edited, file.get("url", ""))

    def _found(self, kind: str, token: str, title: str, edited: str, url: str) -> Found:
        data = {"type": kind, "token": token, "name": title, "url": url}
        return Found(f"{kind}:{token}", version=edited, data=data)

    def _lacks(self, title: str, error: FetchError) -> None:
        said = {"title": title, "reason": error}
        self.incomplete = _("What is below “%(title)s” could not be listed: %(reason)s") % said

    def _pages(self, path: str, field: str, size: int, **asked: str) -> Iterator[dict[str, Any]]:
        page = ""
        while True:
            data = self._get(path, page_size=str(size), page_token=page, **asked)
            yield from data.get(field) or []  # may be empty although there is more
            page = data.get("page_token") or data.get("next_page_token") or ""
            if not data.get("has_more"):
                return
            if not page:
                raise FetchError(_("Feishu broke off a list."), permanent=False)

    # --- one document ---------------------------------------------------------------

    def fetch(self, item: SourceItem) -> Content | None:
        data = item.data
        kind, token, title = data["type"], data["token"], data["name"]
        try:
            if kind == "file":
                path, suffix = f"/drive/v1/files/{token}/download", ""
            else:
                suffix = EXPORTS[kind]
                made, exported_as = self._export(token, kind, suffix)
                title = title or exported_as
                path = f"/drive/v1/export_tasks/file/{made}/download"
            file = self._download(path)
        except _Refused as refused:
            raise self._sentence(refused, title or item.key) from refused
        name = f"{title}.{suffix}" if suffix else title
        return Content(
            file=file.content(),
            name=name if "." in name else file.name or name,
            title=title if suffix else "",
            url=data["url"],
        )

    def _export(self, token: str, kind: str, suffix: str) -> tuple[str, str]:
        """The exported file's token, and what the document is called."""
        task = {"file_extension": suffix, "token": token, "type": kind}
        ticket = self._call("POST", "/drive/v1/export_tasks", json=task)["ticket"]
        until = time.monotonic() + EXPORT_SECONDS
        while time.monotonic() < until:
            result = self._get(f"/drive/v1/export_tasks/{ticket}", token=token)["result"]
            status = result.get("job_status", 1)
            if status == 0:
                return result["file_token"], result.get("file_name", "")
            if status not in JOB_RUNNING:
                raise _Refused(status, result.get("job_error_msg", ""), job=True)
            self.sleep(1)
        raise FetchError(_("Feishu has not exported it in time."), permanent=False)

    def _download(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self._token()}"}
        return self.fetcher.get(f"{self.server}/open-apis{path}", robots=False, headers=headers)

    def _sentence(self, refused: "_Refused", title: str) -> FetchError:
        code = refused.code
        if code in (JOB_DELETED if refused.job else DELETED):
            return Gone(_("“%(title)s” was deleted in Feishu.") % {"title": title}, permanent=True)
        if code in (JOB_FORBIDDEN if refused.job else FORBIDDEN):
            message = _(
                "Feishu does not allow to export “%(title)s”: share it with the app, and allow "
                "its readers to export it."
            )
            return FetchError(message % {"title": title}, permanent=True)
        message = _("Feishu does not give out “%(title)s”: %(reason)s")
        return FetchError(message % {"title": title, "reason": refused}, permanent=True)

    # --- calls ----------------------------------------------------------------------

    def _get(self, path: str, **params: str) -> dict[str, Any]:
        return self._call("GET", path, params={k: v for k, v in params.items() if v})

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """The `data` of an answer. Waits where a limit was reached; renews a refused token."""
        token = self._token()
        for left in reversed(range(self.tries)):
            headers = {"Authorization": f"Bearer {token}"}
            url = f"{self.server}/open-apis{path}"
            response = self.fetcher.call(method, url, headers=headers, **options)
            answer = _json(response)
            code = answer["code"]
            if code == 0:
                data: dict[str, Any] = answer.get("data") or {}
                return data
            if code in TOKEN_REFUSED:
                token = self._token(refused=token)
            elif code == LIMITED or response.status_code in {429, 500, 502, 503, 504}:
                pause = retry_after(response.headers.get("x-ogw-ratelimit-reset", "")) or 1
                if not left or pause > self.longest_pause:
                    break
                self.sleep(pause)
            else:
                raise _Refused(code, str(answer.get("msg", "")))
        raise FetchError(_("Feishu has too much to do; the next time it may go."), permanent=False)

    def _token(self, refused: str = "") -> str:
        """A token that is good for some time, other than the one that was refused.

        One process at a time gets a new one, and it is written down with the same commit:
        a refresh token can be used only once.
        """
        with transaction.atomic():
            if self.source.pk:
                row = Source.objects.select_for_update().only("secret").get(pk=self.source.pk)
                self.source.secret = row.secret
            kept = unseal(self.source.secret) or {}
            token: str = kept.get("token", "")
            if token and token != refused and kept.get("until", 0) > time.time():
                return token
            if self.options["identity"] == "user":
                fresh = self._refreshed(kept)
            else:
                fresh = self._of_the_app(kept)
            self.keep_secrets(**fresh)
        return str(fresh["token"])

    def _of_the_app(self, kept: dict[str, Any]) -> dict[str, Any]:
        body = {"app_id": self.options["app_id"], "app_secret": kept.get("app_secret", "")}
        answer = self._sign_in("/auth/v3/tenant_access_token/internal", body)
        return {"token": answer["tenant_access_token"], "until": _until(answer["expire"])}

    def _refreshed(self, kept: dict[str, Any]) -> dict[str, Any]:
        if not kept.get("refresh_token"):
            raise FetchError(_("Nobody has connected this source yet."), permanent=True)
        return self._exchange(kept, grant_type="refresh_token", refresh_token=kept["refresh_token"])

    def _exchange(self, kept: dict[str, Any], **grant: str) -> dict[str, Any]:
        body = {
            "client_id": self.options["app_id"],
            "client_secret": kept.get("app_secret", ""),
            **grant,
        }
        answer = self._sign_in("/authen/v2/oauth/token", body)
        return {
            "token": answer["access_token"],
            "until": _until(answer["expires_in"]),
            "refresh_token": answer.get("refresh_token", ""),
        }

    def _sign_in(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        response = self.fetcher.call("POST", f"{self.server}/open-apis{path}", json=body)
        answer = _json(response)
        if answer["code"] == 0:
            return answer
        if answer["code"] == LIMITED or response.status_code >= 500:
            message = _("Feishu has too much to do; the next time it may go.")
            raise FetchError(message, permanent=False)
        reason = answer.get("error_description") or answer.get("msg") or answer["code"]
        if body.get("grant_type") == "refresh_token":
            message = _("The sign-in at Feishu has ended (%(reason)s). Connect it again.")
        else:
            message = _("Feishu does not accept the app: %(reason)s. Check App ID and App Secret.")
        raise FetchError(message % {"reason": reason}, permanent=True)

    # --- connecting a person ----------------------------------------------------------

    def authorize_url(self, redirect_uri: str, state: str, challenge: str) -> str:
        """Where a person allows the app to read for them."""
        asked = {
            "client_id": self.options["app_id"],
            "response_type": "code",
            "redirect_uri": redirect_uri,
            "scope": SCOPES,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{self.accounts}/open-apis/authen/v1/authorize?{urlencode(asked)}"

    def connect(self, code: str, redirect_uri: str, verifier: str) -> None:
        """Exchange what the person brought back for tokens. Raises FetchError."""
        kept = unseal(self.source.secret) or {}
        grant = {"code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
        with self.opened(hurried=True):
            self.keep_secrets(**self._exchange(kept, grant_type="authorization_code", **grant))


class _Refused(FetchError):
    """A call was refused, with the service's code for it."""

    def __init__(self, code: int, message: str, job: bool = False) -> None:
        if code in SCOPE_MISSING:
            text = _("The app lacks a permission in Feishu's console: %(reason)s")
        elif code in FORBIDDEN and not job:
            text = _("The app may not read there; share it with the app (%(reason)s).")
        else:
            text = "%(reason)s"
        super().__init__(text % {"reason": f"{message} ({code})"}, permanent=True)
        self.code, self.job = code, job


def _json(response: httpx.Response) -> dict[str, Any]:
    """The answer; its code is a number, of the HTTP status where it has none."""
    try:
        answer = response.json()
        return {**answer, "code": int(answer.get("code", 0 if response.is_success else 1))}
    except (ValueError, TypeError) as error:
        raise FetchError(
            _("Feishu did not answer as expected (status %(status)d).")
            % {"status": response.status_code},
            permanent=False,
        ) from error


def _until(seconds: int) -> float:
    """When a token that lives for `seconds` should be renewed: somewhat sooner."""
    return time.time() + seconds - min(300, seconds / 10)

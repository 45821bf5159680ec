"""Curators' pages of sources: what they bring, when they are looked at next, what went wrong."""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from copy import copy
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from knowledge import sources, uploading
from knowledge.models import Document, Source, SourceRun
from knowledge.parsing.detection import decode
from knowledge.parsing.unreadable import Unreadable
from knowledge.permissions import ByBase
from knowledge.sources import running
from knowledge.sources import tasks as source_tasks
from knowledge.sources.base import Content, Options
from opsdesk import health
from opsdesk.admin import posted
from opsdesk.errors import FetchError
from opsdesk.sealing import seal, unseal

ITEMS = 50  # on a page
RUNS = 10
SHOWN_AT_ONCE = 200  # sources whose state a list may ask for
SEEN = 1500  # characters of what a trial fetched
BUSY = {Source.State.QUEUED, Source.State.RUNNING}
EVERY = (
    (15, gettext_lazy("every 15 minutes")),
    (60, gettext_lazy("every hour")),
    (360, gettext_lazy("every 6 hours")),
    (1440, gettext_lazy("every day")),
    (10080, gettext_lazy("every week")),
    (0, gettext_lazy("only when asked")),
)


class SourceForm(forms.ModelForm):
    """What all kinds have in common."""

    class Meta:
        model = Source
        fields = ["knowledge_base", "name", "every", "approve"]

    def __init__(self, *args: Any, own: Any, watched: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["knowledge_base"].queryset = own  # type: ignore[attr-defined]
        if self.instance.pk:  # its documents are there
            del self.fields["knowledge_base"]
        if watched:
            del self.fields["every"]
            return
        choices: dict[int, Any] = dict(EVERY)
        if self.instance.pk and self.instance.every not in choices:
            choices[self.instance.every] = _("every %(n)d minutes") % {"n": self.instance.every}
        self.fields["every"] = forms.TypedChoiceField(
            label=gettext_lazy("looked at"),
            choices=list(choices.items()),
            coerce=int,
            initial=1440,
        )


def options_form(source: Source, data: Any = None) -> Options:
    """The form of a source's own options; a secret that is kept already may be left out."""
    kind = sources.kind(source.kind)
    form = kind.options_form(data, prefix="options", initial=source.options)
    form.source = source
    kept = unseal(source.secret) or {}
    for name in kind.secrets:
        if name in kept:
            form.fields[name].required = False
            form.fields[name].widget.attrs["placeholder"] = _("unchanged")
    return form


def apply(source: Source, values: dict[str, Any]) -> bool:
    """Write cleaned options on `source`, secrets sealed; whether they are others than before."""
    kind = sources.kind(source.kind)
    kept = unseal(source.secret) or {}
    given = {name: values[name] for name in kind.secrets if values.get(name)}
    options = {name: value for name, value in values.items() if name not in kind.secrets}
    changed = options != source.options or bool(given)
    if given or any(options.get(name) != source.options.get(name) for name in kind.account):
        kept = {name: kept[name] for name in kind.secrets if name in kept}  # tokens of another
    if kind.secrets:
        source.secret = seal({**kept, **given})
    source.options = options
    return changed


class KindFilter(admin.SimpleListFilter):
    title = gettext_lazy("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, kind.label) for name, kind in sources.kinds().items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Source]) -> QuerySet[Source]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(Source)
class SourceAdmin(ByBase):
    list_display = ["name", "state_cell", "documents", "last_run", "kind_name", "knowledge_base"]
    list_filter = ["knowledge_base", KindFilter, "state", "enabled"]
    list_select_related = ["knowledge_base"]
    list_per_page = 50
    search_fields = ["name"]
    actions = ["look_now"]
    change_list_template = "admin/knowledge/source/change_list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Source]:
        there = Count("documents", filter=Q(documents__retired_at=None))
        rows: QuerySet[Source] = super().get_queryset(request)
        last = SourceRun.objects.exclude(finished_at=None)
        return rows.annotate(there=there).prefetch_related(
            Prefetch("runs", queryset=last.order_by("-id"), to_attr="finished_runs")
        )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("states/", view(self.states_view), name="knowledge_source_states"),
            path("connected/", view(self.connected_view), name="knowledge_source_connected"),
            *posted(self, {"look": self.look_view, "pause": self.pause_view}),
            path("<int:pk>/connect/", view(self.connect_view), name="knowledge_source_connect"),
            *super().get_urls(),
        ]

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)  # each is asked what becomes of its documents
        return actions

    # --- the list -------------------------------------------------------------------

    @admin.display(description=gettext_lazy("kind"), ordering="kind")
    def kind_name(self, source: Source) -> str:
        return str(_label(source))

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def state_cell(self, source: Source) -> SafeString:
        return render_to_string("admin/knowledge/source/cell.html", _state(source))

    @admin.display(description=gettext_lazy("documents"), ordering="there")
    def documents(self, source: Any) -> SafeString:
        return render_to_string("admin/knowledge/source/documents.html", {"source": source})

    @admin.display(description=gettext_lazy("last look"))
    def last_run(self, source: Any) -> SafeString:
        run = source.finished_runs[0] if source.finished_runs else None
        return render_to_string("admin/knowledge/source/brought.html", {"run": run})

    @admin.action(description=gettext_lazy("Look now"), permissions=["change"])
    def look_now(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        for source in Source.objects.filter(pk__in=queryset.values("pk"), enabled=True):
            source_tasks.refresh(source)

    def states_view(self, request: HttpRequest) -> JsonResponse:
        """The state cells of the sources `ids`, comma-separated."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = request.GET.get("ids", "").split(",")[:SHOWN_AT_ONCE]
        ids = [int(pk) for pk in asked if pk.isdecimal() and len(pk) < 19]
        rows = self.get_queryset(request).filter(pk__in=ids)
        states = {row.pk: render_to_string(INNER, _state(row)) for row in rows}
        return JsonResponse({"sources": states})

    # --- one source -----------------------------------------------------------------

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        name = request.GET.get("kind", "")
        if name not in sources.kinds():
            return self._choose_kind(request)
        source = Source(kind=name, every=sources.kind(name).default_every)
        source.created_by = request.user  # type: ignore[assignment]
        base = request.GET.get("knowledge_base", "")
        return self._form(request, source, {"knowledge_base": base})

    def _choose_kind(self, request: HttpRequest) -> HttpResponse:
        base = request.GET.get("knowledge_base", "")
        kinds = sources.kinds()
        context = {
            **self.admin_site.each_context(request),
            "title": _("Add a source"),
            "opts": self.opts,
            "kinds": kinds,
            "base": base if base.isdecimal() else "",
        }
        return TemplateResponse(request, "admin/knowledge/source/kinds.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        source = self.get_object(request, object_id)
        if source is None:
            return self._gone(request)
        if not self.has_view_permission(request, source):
            raise PermissionDenied
        if source.kind not in sources.kinds():
            messages.error(request, _("This kind of source is no longer installed."))
            return redirect("admin:knowledge_source_changelist")
        return self._form(request, source)

    def _gone(self, request: HttpRequest) -> HttpResponse:
        self.message_user(request, _("There is no such source (any more)."), messages.WARNING)
        return redirect("admin:knowledge_source_changelist")

    def _form(
        self, request: HttpRequest, source: Source, initial: dict[str, Any] | None = None
    ) -> HttpResponse:
        posted = request.POST if request.method == "POST" else None
        if posted is not None and source.pk and not self.has_change_permission(request, source):
            raise PermissionDenied
        form = SourceForm(
            posted,
            instance=source,
            initial=initial,
            own=self.own_bases(request, "add"),
            watched=sources.kind(source.kind).watched,
        )
        valid = form.is_valid()  # writes the base on the source: the options may depend on it
        own = options_form(source, posted) if posted is None or source.knowledge_base_id else None
        trial = None
        if posted is not None and valid and own and own.is_valid():
            if "_try" not in posted:
                return self._save(request, form, own)
            trial = _try(source, own.cleaned_data)
        return self._page(request, source, form, own or options_form(source), trial)

    def _save(self, request: HttpRequest, form: SourceForm, own: Options) -> HttpResponse:
        source = form.instance
        new = source.pk is None
        with transaction.atomic():
            changed = apply(source, own.cleaned_data)
            form.save()
            log = self.log_addition if new else self.log_change
            log(request, source, [])
            if (new or changed) and not _waits_for_a_person(source):
                source_tasks.refresh(source)
        self.message_user(request, _("Saved."), messages.SUCCESS)
        return redirect("admin:knowledge_source_change", source.pk)

    def _page(
        self, request: HttpRequest, source: Source, form: Any, own: Options, trial: Any
    ) -> HttpResponse:
        kind = sources.kind(source.kind)
        context = {
            **self.admin_site.each_context(request),
            "title": source.name if source.pk else _("Add a source"),
            "opts": self.opts,
            "source": source,
            "kind": kind,
            "form": form,
            "options": own,
            "trial": trial,
            "may_change": not source.pk or self.has_change_permission(request, source),
        }
        if source.pk:
            context |= self._facts(request, source, kind)
        return TemplateResponse(request, "admin/knowledge/source/change_form.html", context)

    def _facts(self, request: HttpRequest, source: Source, kind: Any) -> dict[str, Any]:
        items = source.items.select_related("document__latest").defer("document__latest__parsed")
        # That a page is gone is news: its document is retired.
        failing = items.exclude(error="").exclude(document__retired_at__isnull=False)
        only = "errors" if request.GET.get("items") == "errors" else ""
        pages = Paginator(failing if only else items.order_by("key"), ITEMS)
        return {
            **_state(source),
            "state_cell": self.state_cell(source),
            "documents_cell": self.documents(self.get_queryset(request).get(pk=source.pk)),
            "items": pages.get_page(request.GET.get("p")),
            "only": only,
            "failing": failing.count(),
            "runs": source.runs.exclude(finished_at=None)[:RUNS],
            "unwatched": kind.watched and not health.beating("watch"),
            "connectable": _reads_as_a_person(source),
            "connected": _connected(source),
            "may_delete": self.has_delete_permission(request, source),
        }

    def _mine(self, request: HttpRequest, pk: int) -> Source:
        source = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_change_permission(request, source):
            raise PermissionDenied
        return source

    # --- what can be done with it -----------------------------------------------------

    def look_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        source_tasks.refresh(self._mine(request, pk))
        return redirect("admin:knowledge_source_change", pk)

    def pause_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Pause it, or go on."""
        source = self._mine(request, pk)
        source.enabled = not source.enabled
        source.state = Source.State.IDLE
        source.save(update_fields=["enabled", "state"])
        if source.enabled:
            source_tasks.refresh(source)
        return redirect("admin:knowledge_source_change", pk)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is not None and obj.memory.get("inbox"):
            return False  # `watch` would make it anew; it can be paused
        return super().has_delete_permission(request, obj)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """Asks what becomes of the documents that it brought."""
        source = self.get_object(request, object_id)
        if source is None:
            return self._gone(request)
        if not self.has_delete_permission(request, source):
            raise PermissionDenied
        documents = source.documents.filter(retired_at=None)
        if request.method == "POST" and request.POST.get("documents") in {"keep", "retire"}:
            with transaction.atomic():
                if request.POST["documents"] == "retire":
                    reason = _("Its source %(source)s was deleted.") % {"source": source}
                    uploading.retire(Document.objects.filter(source=source), reason)
                self.log_deletions(request, Source.objects.filter(pk=source.pk))
                source.delete()
            self.message_user(request, _("Deleted."), messages.SUCCESS)
            return redirect("admin:knowledge_source_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": _("Delete %(source)s") % {"source": source},
            "opts": self.opts,
            "source": source,
            "count": documents.count(),
        }
        return TemplateResponse(request, "admin/knowledge/source/delete.html", context)

    # --- signing in at a document service ---------------------------------------------

    def connect_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Off to where a person says that the source may read for them (OAuth 2.0, PKCE)."""
        source = self._mine(request, pk)
        if not sources.kind(source.kind).connectable:
            raise PermissionDenied
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        request.session["source_connect"] = {"source": pk, "state": state, "verifier": verifier}
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        backend: Any = sources.backend(source)
        return redirect(backend.authorize_url(_callback(request), state, challenge))

    def connected_view(self, request: HttpRequest) -> HttpResponse:
        """Back from there, with a code; only once, and only who went."""
        started = request.session.pop("source_connect", None) or {}
        state = request.GET.get("state", "")
        if not started or not secrets.compare_digest(state.encode(), started["state"].encode()):
            raise PermissionDenied
        source = self._mine(request, started["source"])
        backend: Any = sources.backend(source)
        try:
            if not (code := request.GET.get("code")):
                raise FetchError(_("It was not allowed."), permanent=True)
            backend.connect(code, _callback(request), started["verifier"])
        except FetchError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, _("Connected."), messages.SUCCESS)
            source_tasks.refresh(source)
        return redirect("admin:knowledge_source_change", source.pk)


INNER = "admin/knowledge/source/state.html"


def _callback(request: HttpRequest) -> str:
    return request.build_absolute_uri(reverse("admin:knowledge_source_connected"))


def _connected(source: Source) -> bool:
    return bool((unseal(source.secret) or {}).get("refresh_token"))


def _waits_for_a_person(source: Source) -> bool:
    return _reads_as_a_person(source) and not _connected(source)


def _reads_as_a_person(source: Source) -> bool:
    connectable = sources.kind(source.kind).connectable
    return connectable and source.options.get("identity") == "user"


def _label(source: Source) -> Any:
    kinds = sources.kinds()
    return kinds[source.kind].label if source.kind in kinds else source.kind


def _state(source: Source) -> dict[str, Any]:
    busy = source.state in BUSY and source.enabled
    progress = None
    if busy and (run := source.runs.filter(finished_at=None).first()):
        waiting = source.items.filter(waiting=True).count()
        seen = source.items.filter(seen_at__gte=run.started_at).count()
        progress = {"done": seen - waiting, "total": seen}
    return {"source": source, "busy": busy, "progress": progress}


def _try(source: Source, values: dict[str, Any]) -> dict[str, Any]:
    """What the source would bring: the first of what it finds, and how one of it begins."""
    trial = copy(source)
    if not _same_account(source, values):
        trial.pk = None  # nothing of a trial is kept, but tokens that were exchanged
    apply(trial, values)
    try:
        found, content = running.preview(sources.backend(trial))
        names = [each.data.get("name") or each.key for each in found]
        return {"found": names, **_begins(content)}
    except FetchError as error:
        return {"error": str(error)}


def _same_account(source: Source, values: dict[str, Any]) -> bool:
    """Whether the tokens that are kept are of what `values` say; to another they must not go."""
    kind = sources.kind(source.kind)
    given = any(values.get(name) for name in kind.secrets)
    same = all(values.get(name) == source.options.get(name) for name in kind.account)
    return bool(kind.secrets) and same and not given


def _begins(content: Content | None) -> dict[str, Any]:
    if content is None or content.file is None:
        return {}
    with content.file as file:
        start = file.read(SEEN * 4)
        size = file.seek(0, 2)
    try:
        text = decode(start)[:SEEN]
    except Unreadable:
        text = ""
    return {"name": content.name, "title": content.title, "text": text, "size": size}

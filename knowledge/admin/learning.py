"""Curators' pages of what a base learns: confirmed questions, their effect, words to add."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from knowledge import confirmed, learning, permissions, suggestions
from knowledge.models import Adapter, ConfirmedPair, KnowledgeBase, TermSuggestion
from knowledge.permissions import ByBase


class _Decided(ByBase):
    """A list whose rows are decided on, not edited."""

    list_per_page = 50
    list_display_links = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kw: Any) -> Any:
        return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")


@admin.register(ConfirmedPair)
class ConfirmedPairAdmin(_Decided):
    list_display = ["question", "answers", "knowledge_base", "origin", "user", "created_at", "out"]
    list_filter = ["knowledge_base", "origin", "dropped"]
    list_select_related = ["knowledge_base", "document", "user"]
    search_fields = ["question", "document__title"]
    actions = ["take_out", "put_in"]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        title = {"title": _("Confirmed questions")}
        return super().changelist_view(request, {**title, **(extra_context or {})})

    @admin.display(description=gettext_lazy("answered by"), ordering="document__title")
    def answers(self, pair: ConfirmedPair) -> SafeString:
        url = reverse("admin:knowledge_document_change", args=[pair.document_id])
        return format_html('<a href="{}">{}</a>', url, pair.document)

    @admin.display(description=gettext_lazy("counts"), boolean=True, ordering="dropped")
    def out(self, pair: ConfirmedPair) -> bool:
        return not pair.dropped

    @admin.action(description=gettext_lazy("Learn from these no more"), permissions=["change"])
    def take_out(self, request: HttpRequest, queryset: QuerySet[ConfirmedPair]) -> None:
        count = confirmed.drop(queryset)
        text = ngettext(
            "%(n)d question is taken out. It can be put in again.",
            "%(n)d questions are taken out. They can be put in again.",
            count,
        )
        self.message_user(request, text % {"n": count}, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Learn from these again"), permissions=["change"])
    def put_in(self, request: HttpRequest, queryset: QuerySet[ConfirmedPair]) -> None:
        count = confirmed.drop(queryset, dropped=False)
        text = ngettext("%(n)d question counts again.", "%(n)d questions count again.", count)
        self.message_user(request, text % {"n": count}, messages.SUCCESS)


@admin.register(TermSuggestion)
class TermSuggestionAdmin(_Decided):
    list_display = ["asked", "written", "count", "seen", "state", "knowledge_base"]
    list_filter = ["knowledge_base", "state"]
    list_select_related = ["knowledge_base"]
    search_fields = ["asked", "written"]
    actions = ["accept", "dismiss", "reopen"]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        title = {"title": _("Words that confirmed questions suggest as terms")}
        return super().changelist_view(request, {**title, **(extra_context or {})})

    @admin.display(description=gettext_lazy("for example"))
    def seen(self, suggestion: TermSuggestion) -> SafeString:
        return format_html_join("", "<div>{} → {}</div>", suggestion.examples)

    @admin.action(description=gettext_lazy("Make them terms"), permissions=["change"])
    def accept(self, request: HttpRequest, queryset: QuerySet[TermSuggestion]) -> None:
        made = 0
        for suggestion in queryset.exclude(state=TermSuggestion.State.ACCEPTED):
            try:
                suggestions.accept(suggestion, request.user)  # type: ignore[arg-type]
                made += 1
            except ValidationError as error:
                self.message_user(request, " ".join(error.messages), messages.ERROR)
        text = ngettext("%(n)d term counts now.", "%(n)d terms count now.", made)
        self.message_user(request, text % {"n": made}, messages.SUCCESS)

    @admin.action(description=gettext_lazy("Dismiss"), permissions=["change"])
    def dismiss(self, request: HttpRequest, queryset: QuerySet[TermSuggestion]) -> None:
        count = suggestions.dismiss(queryset, request.user)  # type: ignore[arg-type]
        self._said(request, count)

    @admin.action(description=gettext_lazy("Decide again"), permissions=["change"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[TermSuggestion]) -> None:
        count = suggestions.reopen(queryset, request.user)  # type: ignore[arg-type]
        self._said(request, count)

    def _said(self, request: HttpRequest, count: int) -> None:
        text = ngettext("%(n)d suggestion changed.", "%(n)d suggestions changed.", count)
        self.message_user(request, text % {"n": count}, messages.SUCCESS)


def learned_view(request: HttpRequest, pk: int) -> HttpResponse:
    """What a base learned and how much it helps; by POST: learn now, switch, go back."""
    base = get_object_or_404(KnowledgeBase, pk=pk)
    right: permissions.Right = "change" if request.method == "POST" else "view"
    if not permissions.may(request.user, right, base):
        raise PermissionDenied
    if request.method == "POST":
        _decide(request, base)
        return redirect("admin:knowledge_knowledgebase_learned", base.pk)
    count = confirmed.counting(base).count()
    context = {
        **admin.site.each_context(request),
        "title": _("What “%(base)s” learned") % {"base": base},
        "opts": KnowledgeBase._meta,
        "base": base,
        "count": count,
        "least": learning.LEAST,
        "missing": max(0, learning.LEAST - count),
        "adapters": list(base.adapters.defer("projection")),
        "suggested": base.term_suggestions.filter(state=TermSuggestion.State.OPEN).count(),
        "may_change": permissions.may(request.user, "change", base),
    }
    return TemplateResponse(request, "admin/knowledge/knowledgebase/learned.html", context)


def _decide(request: HttpRequest, base: KnowledgeBase) -> None:
    decision = request.POST.get("decision", "")
    if decision == "learn":
        learning.enqueue(base.pk, force=True)
        messages.success(request, _("It learns now. Look again in a minute."))
    elif decision in ("on", "off"):
        learning.switch(base, decision == "on")
        said = _("What it learned counts.") if decision == "on" else _("It counts no more.")
        messages.success(request, said)
    elif decision.isdecimal():
        adapter = get_object_or_404(Adapter, pk=decision[:18], knowledge_base=base)
        learning.activate(adapter)
        messages.success(request, _("This one counts until something new is learned."))

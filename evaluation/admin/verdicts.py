"""Judging answers in the administration."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from chat.admin import EXCERPT
from chat.models import Turn
from evaluation import verdicts
from evaluation.models import Verdict
from opsdesk.admin import ReadOnlyAdmin


@admin.register(Verdict)
class VerdictAdmin(ReadOnlyAdmin):
    """What was said of answers; judging is done on a turn's page."""

    list_display = ["asked", "kind", "note", "by", "at"]
    list_filter = ["kind", "at"]
    search_fields = ["turn__message__text", "note"]
    fields = ["asked", "kind", "note", "by", "at"]
    readonly_fields = ["asked"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("evaluation.delete_verdict")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Verdict]:
        return super().get_queryset(request).select_related("turn__message", "by")

    @admin.display(description=gettext_lazy("question"))
    def asked(self, verdict: Verdict) -> SafeString:
        url = reverse("admin:chat_turn_change", args=[verdict.turn_id])
        text = Truncator(verdict.turn.message.text).chars(EXCERPT)
        return format_html('<a href="{}">{}</a>', url, text)

    def get_urls(self) -> list[URLPattern]:
        judge = self.admin_site.admin_view(judge_view)
        return [
            path("turn/<int:pk>/", judge, name="evaluation_verdict_judge"),
            *super().get_urls(),
        ]


@require_POST
def judge_view(request: HttpRequest, pk: int) -> HttpResponse:
    turn = get_object_or_404(Turn, pk=pk)
    note = request.POST.get("note", "").replace("\x00", "")
    try:
        verdicts.judge(turn, request.POST.get("kind", ""), note, request.user)
    except ValidationError as refused:
        messages.error(request, " ".join(refused.messages))
    else:
        messages.success(request, _("Your judgement is kept."))
    return redirect("admin:chat_turn_change", pk)


def judging(request: HttpRequest, turn: Turn) -> str:
    """On a turn's page: what was said of it, and the buttons to say it."""
    verdict = Verdict.objects.select_related("by").filter(turn=turn).first()
    kinds = verdicts.kinds(turn) if verdicts.may_judge(request.user, turn) else ()
    if not kinds and not verdict:
        return ""
    context = {"turn": turn, "verdict": verdict, "kinds": kinds}
    return render_to_string("admin/evaluation/judging.html", context, request)

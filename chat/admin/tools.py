"""Staff set up HTTP tools, try them out, and read what every tool was used for."""

import time
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat import presenting
from chat.models import HttpTool, ToolCall
from chat.tools import calling, choosing
from chat.tools.base import Context, ToolError
from chat.tools.forms import ArgumentFormSet, HttpToolForm, TrialForm, initial
from chat.tools.http import PATHS, HttpBackend, paths, reachable
from knowledge import sheets
from opsdesk.admin import ReadOnlyAdmin

TRIAL_SECONDS = 20.0  # a person waits, and a thread of the web process with them
REQUEST = ["method", "url", "headers", "secrets", "body", "timeout", "repeatable"]
EXPORTED = 50_000  # records of one file


@admin.register(HttpTool)
class HttpToolAdmin(admin.ModelAdmin):
    form = HttpToolForm
    list_display = ["title", "name", "method", "host", "sensitive", "enabled", "calls"]
    list_filter = ["enabled", "sensitive"]
    search_fields = ["title", "name", "description", "url"]
    change_form_template = "admin/chat/httptool/change_form.html"
    fieldsets = [
        (None, {"fields": ["title", "name", "description", "enabled"]}),
        (gettext_lazy("When it is used"), {"fields": ["triggers"]}),
        (gettext_lazy("What is asked of the service"), {"fields": [*REQUEST]}),
        (gettext_lazy("What is said"), {"fields": ["answer", "nothing"]}),
        (
            gettext_lazy("Who may use it"),
            {"fields": ["sensitive", "users", "sites", "groups", "bases"]},
        ),
    ]

    class Media:
        css = {"all": ["chat/tools.css"]}

    def get_urls(self) -> list[URLPattern]:
        trial = self.admin_site.admin_view(self.trial_view)
        return [path("<int:pk>/try/", trial, name="chat_httptool_try"), *super().get_urls()]

    @admin.display(description=gettext_lazy("host"))
    def host(self, tool: HttpTool) -> str:
        return tool.url.split("/")[2] if tool.url.count("/") > 1 else tool.url

    @admin.display(description=gettext_lazy("calls"))
    def calls(self, tool: HttpTool) -> SafeString:
        url = reverse("admin:chat_toolcall_changelist")
        count = ToolCall.objects.filter(tool=tool.name).count()
        return format_html('<a href="{}?tool={}">{}</a>', url, tool.name, count)

    # --- the form with the table of its arguments -----------------------------------------

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        made = super().get_form(request, obj, change, **kwargs)
        rows = initial(obj.schema) if obj else []
        data = request.POST if request.method == "POST" else None
        arguments = ArgumentFormSet(data, initial=rows, prefix="arguments")
        request.tool_arguments = arguments  # type: ignore[attr-defined]
        return type(made.__name__, (made,), {"arguments": arguments})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["arguments"] = request.tool_arguments  # type: ignore[attr-defined]
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: HttpTool, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if form.was_secret and not obj.secret:
            messages.warning(
                request, _("The secret headers were meant for another host. Enter them again.")
            )
        if not reachable(obj.url):
            messages.warning(
                request,
                _(
                    "It cannot be called yet: OPSDESK_TOOL_HOSTS does not name its host. Whoever "
                    "runs this server adds it there."
                ),
            )

    # --- trying it out ---------------------------------------------------------------------

    def trial_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        row = get_object_or_404(HttpTool, pk=pk)
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        tool = HttpBackend(row)
        asked = request.GET.get("q", "").strip()[:500]
        chosen = choosing.by_words(asked, [tool])
        told = chosen[0].arguments if chosen else {}
        form = TrialForm(row.schema, request.POST or None, initial=told)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Try out: %(tool)s") % {"tool": row.title},
            "opts": self.opts,
            "tool": row,
            "form": form,
            "asked": asked,
            "chosen": chosen[0] if chosen else None,
            "missing": chosen[0].missing() if chosen else None,
        }
        if request.method == "POST" and form.is_valid():
            context["trial"] = _try(tool, form.cleaned_data, request.user)
        return TemplateResponse(request, "admin/chat/httptool/trial.html", context)


def _try(tool: HttpBackend, given: dict[str, Any], user: Any) -> dict[str, Any]:
    """Really make the call, on record; what came of it."""
    values = {name: value for name, value in given.items() if value != ""}
    arguments = choosing.valid(tool, values)
    wrong = sorted(set(values) - set(arguments))
    if wrong:
        labels = ", ".join(tool.schema["properties"][name]["title"] for name in wrong)
        return {"error": _("This does not fit: %(labels)s") % {"labels": labels}}
    context = Context(user, user.get_username(), deadline=time.monotonic() + TRIAL_SECONDS)
    record = ToolCall.objects.create(
        tool=tool.name,
        user=user,
        identity=context.identity,
        arguments=calling.masked(arguments),
        digest=calling.digest(tool, arguments, context),
        status=ToolCall.Status.RUNNING,
        trial=True,
    )
    try:
        result = calling.run(tool, record, arguments, context, TRIAL_SECONDS, patient=True)
    except ToolError as error:
        return {"error": str(error), "record": record}
    return {
        "record": record,
        "said": mark_safe(presenting.html(result.text)),  # noqa: S308 (cleaned there)
        "paths": list(paths(result.data))[:PATHS],
    }


@admin.register(ToolCall)
class ToolCallAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "tool", "by", "told", "status", "took", "talk", "trial"]
    list_filter = ["status", "trial", "created_at", "tool"]
    list_select_related = ["user", "conversation"]
    list_per_page = 50
    search_fields = ["tool", "arguments", "result", "error", "user__username", "identity"]
    date_hierarchy = "created_at"
    actions = ["export"]
    fields = [
        "tool", "status", "by", "told", "said", "error", "took", "talk", "turn_link", "confirmed",
        "trial", "created_at", "finished_at",
    ]  # fmt: skip
    readonly_fields = ["by", "told", "said", "took", "talk", "turn_link"]

    class Media:
        css = {"all": ["chat/tools.css"]}

    @admin.display(description=gettext_lazy("who"))
    def by(self, call: ToolCall) -> str:
        return call.who

    @admin.display(description=gettext_lazy("arguments"))
    def told(self, call: ToolCall) -> str:
        return _told(call)

    @admin.display(description=gettext_lazy("seconds"), ordering="seconds")
    def took(self, call: ToolCall) -> str:
        return "" if call.seconds is None else f"{call.seconds:.2f}"

    @admin.display(description=gettext_lazy("what was said"))
    def said(self, call: ToolCall) -> SafeString:
        return mark_safe(presenting.html(call.result))  # noqa: S308 (cleaned there)

    @admin.display(description=gettext_lazy("conversation"))
    def talk(self, call: ToolCall) -> SafeString | str:
        if call.conversation_id is None:
            return ""
        url = reverse("admin:chat_conversation_change", args=[call.conversation_id])
        return format_html('<a href="{}">{}</a>', url, call.conversation)

    @admin.display(description=gettext_lazy("turn"))
    def turn_link(self, call: ToolCall) -> SafeString | str:
        if call.turn_id is None:
            return ""
        url = reverse("admin:chat_turn_change", args=[call.turn_id])
        return format_html('<a href="{}">{}</a>', url, call.turn_id)

    @admin.action(description=gettext_lazy("Export as CSV"), permissions=["view"])
    def export(self, request: HttpRequest, queryset: QuerySet[ToolCall]) -> HttpResponse:
        calls = queryset.select_related("user").order_by("pk")[:EXPORTED]
        response = HttpResponse(sheets.to_csv(_rows(calls)), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="tool-calls.csv"'
        return response


def _told(call: ToolCall) -> str:
    return ", ".join(f"{name}: {value}" for name, value in call.arguments.items())


def _rows(calls: Any) -> Any:
    yield [
        _("created"), _("tool"), _("who"), _("arguments"), _("status"), _("result"), _("error"),
        _("seconds"), _("trial"), _("conversation"),
    ]  # fmt: skip
    for call in calls:
        when = timezone.localtime(call.created_at).strftime("%Y-%m-%d %H:%M:%S")
        took = "" if call.seconds is None else f"{call.seconds:.2f}"
        yield [
            when, call.tool, call.who, _told(call), str(call.get_status_display()), call.result,
            call.error, took, _("yes") if call.trial else "", str(call.conversation_id or ""),
        ]  # fmt: skip

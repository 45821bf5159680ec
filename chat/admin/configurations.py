"""Staff write configurations, see what they change, try them, put them to use and go back."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat import configurations, graph, presenting, prompting
from chat.asking import MESSAGE_LENGTH
from chat.configurations import PROMPT, PROMPT_LABELS, PROMPTS, TUNABLE
from chat.models import Configuration, Turn
from knowledge import permissions
from knowledge.models import KnowledgeBase
from opsdesk import gates
from opsdesk.admin import posted

State = Configuration.State
REASON = 300  # characters


class ConfigurationForm(forms.ModelForm):
    """The overrides as fields: one that is empty leaves what the environment says."""

    class Meta:
        model = Configuration
        fields = ["name", "note"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        given = self.instance.overrides
        for name, of in TUNABLE.items():
            field: Any = of.field(
                label=of.label, help_text=of.help, required=False, initial=given.get(name)
            )
            self.fields[name] = field
            shown: Any = configurations.environment(name)
            if isinstance(shown, bool):
                shown = _("on") if shown else _("off")
                field.choices = [("", _("as set up (%(now)s)") % {"now": shown}),
                                 *field.choices[1:]]  # fmt: skip
            else:
                field.widget.attrs["placeholder"] = shown
        for name in PROMPTS:
            text = given.get(f"{PROMPT}{name}", prompting.shipped(name).template)
            self.fields[f"{PROMPT}{name}"] = forms.CharField(
                label=name,
                help_text=PROMPT_LABELS[name],
                required=False,
                initial=text,
                strip=False,
                widget=forms.Textarea(attrs={"rows": 14, "spellcheck": "false"}),
            )

    @property
    def tuned(self) -> list[Any]:
        return [self[name] for name in TUNABLE]

    @property
    def prompts(self) -> list[tuple[Any, bool]]:
        """Each with whether it differs from what is shipped."""
        changed = self.instance.overrides
        return [(self[f"{PROMPT}{name}"], f"{PROMPT}{name}" in changed) for name in PROMPTS]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        names = [*TUNABLE, *(f"{PROMPT}{one}" for one in PROMPTS)]
        try:
            self.instance.overrides = configurations.cleaned(
                {name: data[name] for name in names if name in data}
            )
        except ValidationError as error:
            for name, found in error.error_dict.items():
                self.add_error(name, found)
        if self.instance.overrides.get("OPENAI_MODEL") and not configurations.environment("LLM"):
            self.add_error("OPENAI_MODEL", _("No model server is set up (OPENAI_BASE_URL)."))
        return data


@admin.register(Configuration)
class ConfigurationAdmin(admin.ModelAdmin):
    form = ConfigurationForm
    list_display = ["__str__", "state", "on_trial", "changes", "note", "by", "used_at"]
    list_filter = ["state", "name"]
    list_select_related = ["by"]
    list_per_page = 50
    search_fields = ["name", "note"]
    change_form_template = "admin/chat/configuration/change_form.html"
    change_list_template = "admin/chat/configuration/change_list.html"

    class Media:
        css = {"all": ["chat/configurations.css"]}

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}  # what was in use is kept

    @admin.display(description=gettext_lazy("changes"))
    def changes(self, row: Configuration) -> str:
        return "、".join(map(configurations.label, row.overrides))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return [(None, {"fields": ["name", "note"]})]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        kwargs["fields"] = ["name", "note"] if obj is None or obj.editable else []
        return super().get_form(request, obj, change, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        editable = obj is None or obj.editable
        return editable and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        editable = obj is None or obj.editable
        return editable and super().has_delete_permission(request, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or may_use(request)

    def save_model(self, request: HttpRequest, obj: Configuration, form: Any, change: bool) -> None:
        if not change:
            obj.by = request.user  # type: ignore[assignment]
        if not change or "name" in form.changed_data:
            same = Configuration.objects.filter(name=obj.name).order_by("-version").first()
            obj.version = (same.version if same else 0) + 1
        super().save_model(request, obj, form, change)

    def get_urls(self) -> list[URLPattern]:
        names = {"use": self.use, "another": self.another, "recall": self.recall, "end": self.end}
        return [*posted(self, names), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        context: dict[str, Any] = {"show_save_and_add_another": False}
        if row and self.has_view_permission(request, row):
            context |= self._facts(request, row)
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def _facts(self, request: HttpRequest, row: Configuration) -> dict[str, Any]:
        used = configurations.active()
        bases = permissions.bases(request.user, "view")
        return {
            "row": row,
            "used": used,
            "differences": [
                (configurations.label(name), _shown(before), _shown(after), name.startswith(PROMPT))
                for name, before, after in configurations.differences(row)
            ],
            "may_use": may_use(request),
            "replayed": gates.told(request, "configuration", row.pk),
            "may_overrule": request.user.has_perm("chat.overrule_gate"),
            "bases": bases,
            **_tried(request, row, bases),
        }

    # --- what is done with it ---------------------------------------------------------

    def use(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Put it to use, through the gates; with a reason in spite of them."""
        row = self._row(request, pk)
        reason = request.POST.get("overrule", "").strip()[:REASON]
        if reason and not request.user.has_perm("chat.overrule_gate"):
            raise PermissionDenied
        earlier = row.state == State.EARLIER
        refusal = configurations.activate(row, request.user, reason, freely=earlier)
        if refusal is None:
            self.log_change(request, row, _("Put to use.") + (f" {reason}" if reason else ""))
            said = _("%(name)s is in use from the next question on.") % {"name": row}
            self.message_user(request, said, messages.SUCCESS)
        else:
            level = messages.INFO if refusal.waiting else messages.ERROR
            more = _("See the run") if refusal.url else ""
            text = format_html('{} <a href="{}">{}</a>', refusal.reason, refusal.url, more)
            self.message_user(request, text, level)
        return _page(row)

    def recall(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Not to be put to use after all, while it is being replayed."""
        row = self._row(request, pk)
        configurations.withdraw(pk)
        gates.withdrawn.send(Configuration, kind="configuration", subject=pk)
        return _page(row)

    def end(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Answer by the environment's settings again."""
        row = self._row(request, pk)
        configurations.end()
        self.log_change(request, row, _("No more in use."))
        said = _("Questions are answered as the environment says again.")
        self.message_user(request, said, messages.SUCCESS)
        return _page(row)

    def another(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        row = configurations.another(get_object_or_404(Configuration, pk=pk), request.user)
        return _page(row)

    def _row(self, request: HttpRequest, pk: int) -> Configuration:
        if not may_use(request):
            raise PermissionDenied
        return get_object_or_404(Configuration, pk=pk)


def may_use(request: HttpRequest) -> bool:
    return request.user.has_perm("chat.change_configuration")


def _page(row: Configuration) -> HttpResponse:
    return redirect(reverse("admin:chat_configuration_change", args=[row.pk]))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return _("on") if value else _("off")
    return str(value)


def _tried(
    request: HttpRequest, row: Configuration, bases: QuerySet[KnowledgeBase]
) -> dict[str, Any]:
    """What comes of the question in the address, as it is and with `row`; nothing is written."""
    question = request.GET.get("question", "").replace("\x00", "").strip()[:MESSAGE_LENGTH]
    chosen = request.GET.get("base", "")
    asked = bases.filter(pk=chosen) if chosen.isdecimal() and len(chosen) < 19 else bases
    if not question:
        return {}
    answers = []
    for title, overrides in (
        (_("as it is now"), configurations.overrides()),
        (str(row), row.overrides),
    ):
        turn = graph.outside(question, asked)
        turn.tuned = dict(overrides)
        turn = graph.run(turn)
        answers.append(
            {
                "title": title, "outcome": Turn.Outcome(turn.outcome).label,
                "confidence": turn.confidence, "sources": turn.sources,
                "html": presenting.html(turn.text, len(turn.sources)),
            }
        )  # fmt: skip
    return {"question": question, "chosen": chosen, "answers": answers}

"""The page where staff read and set when a person is offered or called."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import EscalationPolicy
from chat.replaying import TURNS, replay
from knowledge.models import KnowledgeBase
from opsdesk.admin import posted

Does = EscalationPolicy.Does
# Each rule as a sentence, its choices, and the number that belongs to it.
RULES: dict[str, tuple[Any, dict[Any, Any], str]] = {
    "asked": (
        gettext_lazy("The customer asks for a person"),
        {
            Does.CALL: gettext_lazy("call one at once"),
            Does.OFFER: gettext_lazy("ask once whether they are sure, then call one"),
        },
        "",
    ),
    "unhappy": (
        gettext_lazy("The customer is dissatisfied with an answer"),
        {
            Does.CALL: gettext_lazy("call a person at once"),
            Does.LATER: gettext_lazy("offer one first, call one when it happens again"),
            Does.OFFER: gettext_lazy("offer one, the customer decides"),
        },
        "unhappy_times",
    ),
    "abuse": (
        gettext_lazy("The customer is abusive"),
        {
            Does.CALL: gettext_lazy("call a person at once"),
            Does.OFFER: gettext_lazy("offer one, the customer decides"),
            Does.GO_ON: gettext_lazy("call nobody, ask what they need"),
        },
        "",
    ),
    "rounds": (
        gettext_lazy("Several rounds bring the customer no further"),
        {
            Does.CALL: gettext_lazy("call a person"),
            Does.OFFER: gettext_lazy("offer one beside the answer"),
            Does.GO_ON: gettext_lazy("do nothing"),
        },
        "rounds_times",
    ),
    "unsure": (
        gettext_lazy("There is no answer that is sure enough"),
        {
            Does.CALL: gettext_lazy("call a person at once"),
            Does.OFFER: gettext_lazy("say so and offer one, the customer decides"),
        },
        "",
    ),
    "mood": (
        gettext_lazy("The customer is in a hurry or upset"),
        {
            Does.CALL: gettext_lazy("call a person at once"),
            Does.OFFER: gettext_lazy("answer, and offer one beside the answer"),
            Does.GO_ON: gettext_lazy("answer as always"),
        },
        "",
    ),
}
HINTS = {
    "rounds": gettext_lazy(
        "A round without progress: a question back that was not answered, the same question "
        "again, an answer rated 👎, “it still does not work”, nothing found. After a person has "
        "answered, the count starts anew."
    ),
    "unsure": gettext_lazy("How sure an answer must be is set for each knowledge base."),
}


class PolicyForm(forms.ModelForm):
    class Meta:
        model = EscalationPolicy
        fields = ["knowledge_base", *EscalationPolicy.settings()]
        labels = {
            "unhappy_times": gettext_lazy("call one the … time"),
            "rounds_times": gettext_lazy("rounds"),
            "offer_first": gettext_lazy(
                "Before OpsDesk calls a person by itself it offers one first, and calls when "
                "that did not help. Not when the customer asked for one."
            ),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, (label, choices, _number) in RULES.items():
            if name in self.fields:
                self.fields[name] = forms.ChoiceField(
                    label=label, choices=list(choices.items()), widget=forms.RadioSelect
                )
        if "knowledge_base" in self.fields:
            taken = EscalationPolicy.objects.exclude(knowledge_base=None).values("knowledge_base")
            bases = KnowledgeBase.objects.exclude(pk__in=taken)
            field = forms.ModelChoiceField(bases, label=_("Knowledge base"))
            self.fields["knowledge_base"] = field

    @property
    def previewed(self) -> bool:
        return "_preview" in self.data

    def is_valid(self) -> bool:
        """What is only previewed is shown again instead of saved."""
        return super().is_valid() and not self.previewed


def _column(name: str) -> Any:
    """A rule in the list, in the words of the form."""
    heading = EscalationPolicy._meta.get_field(name).verbose_name  # type: ignore[union-attr]

    @admin.display(description=heading, ordering=name)
    def chosen(policy: EscalationPolicy) -> str:
        value = getattr(policy, name)
        return str(RULES[name][1].get(value, value))

    return chosen


@admin.register(EscalationPolicy)
class EscalationPolicyAdmin(admin.ModelAdmin):
    """One row for all bases, which is always there, and one for each base that differs."""

    form = PolicyForm
    list_display = ["__str__", *map(_column, RULES), "changed_at"]
    list_select_related = ["knowledge_base"]

    class Media:
        css = {"all": ["chat/policy.css"]}

    def get_fields(self, request: HttpRequest, obj: EscalationPolicy | None = None) -> Any:
        names = EscalationPolicy.settings()
        return names if obj else ["knowledge_base", *names]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        default = obj is not None and obj.knowledge_base_id is None
        return super().has_delete_permission(request, obj) and not default

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        EscalationPolicy.objects.get_or_create(knowledge_base=None)
        return super().changelist_view(request, extra_context)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}  # the default row must stay

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A base begins with what holds for all."""
        return {
            **EscalationPolicy.of(None).as_dict(),
            **super().get_changeform_initial_data(request),
        }

    def get_urls(self) -> list[URLPattern]:
        return [*posted(self, {"restore": self.restore}), *super().get_urls()]

    def restore(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Choose everything as it was delivered."""
        row = EscalationPolicy.objects.filter(pk=pk).first()
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        if row is None:
            raise Http404
        row.restore()
        self.log_change(request, row, _("Restored as delivered."))
        self.message_user(request, _("Everything is as delivered again."), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:chat_escalationpolicy_change", args=[row.pk]))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        form = context["adminform"].form
        context["rules"] = [
            {
                "choice": form[name],
                "number": form[number] if number else None,
                "hint": HINTS.get(name, ""),
            }
            for name, (_label, _choices, number) in RULES.items()
            if name in form.fields
        ]
        if isinstance(form, PolicyForm) and form.previewed and not form.errors:
            context["preview"] = replay(form.instance)
            context["words"] = {name: RULES[name][0] for name in RULES}
            context["may_see"] = request.user.has_perm("chat.view_turn")
            context["most"] = TURNS
        return super().render_change_form(request, context, *args, **kwargs)

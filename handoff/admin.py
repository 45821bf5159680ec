"""Teams, agents, hours and texts of the desk, and what was handed off."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.postgres.fields import ArrayField
from django.db.models import Case, QuerySet, Value, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from chat.models import Conversation
from handoff import desk, hours
from handoff.models import (
    Agent,
    Calendar,
    CannedReply,
    Draft,
    Handoff,
    Hours,
    Macro,
    Membership,
    OwnershipChange,
    SpecialDay,
    Team,
)
from knowledge.forms import TagsField
from opsdesk.admin import ReadOnlyAdmin

# Words between commas, also those of a Chinese keyboard: what is read as one word fits nobody.
WORDS: Any = {ArrayField: {"form_class": TagsField}}

ORDER = {Handoff.Status.WAITING: 0, Handoff.Status.OFFERED: 0, Handoff.Status.TAKEN: 1}
WAITING = [Handoff.Status.WAITING, Handoff.Status.OFFERED]


class TeamsInline(admin.TabularInline):
    model = Membership
    extra = 1
    autocomplete_fields = ["team"]
    verbose_name, verbose_name_plural = _("team"), _("teams")


@admin.register(Agent)
class AgentAdmin(admin.ModelAdmin):
    """Whoever is made an agent may sign in and work at the console; nothing else is needed."""

    list_display = ["__str__", "user", "enters", "on_duty", "seen_at", "load", "capacity"]
    list_filter = ["on_duty", "teams"]
    list_select_related = ["user"]
    autocomplete_fields = ["user"]
    search_fields = ["user__username", "user__first_name", "user__last_name"]
    inlines = [TeamsInline]
    formfield_overrides = WORDS

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "user" and field:
            field.help_text = _("May sign in and work at the console from then on.")
            if not request.user.has_perm("auth.change_user"):
                field.queryset = get_user_model().objects.filter(is_staff=True)
                field.help_text = _("Who may sign in already; others are let in by who may change "
                                    "users.")  # fmt: skip
        return field

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "user" in form.changed_data and not obj.user.is_staff:
            obj.user.is_staff = True
            obj.user.save(update_fields=["is_staff"])
        if not change:
            told = _("%(agent)s can sign in and work at the console:") % {"agent": obj}
            url = request.build_absolute_uri(reverse("console"))
            self.message_user(request, format_html('{} <a href="{}">{}</a>', told, url, url))

    def delete_model(self, request: HttpRequest, obj: Agent) -> None:
        self.delete_queryset(request, Agent.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        """Whom they were talking to waits for somebody else: who is no agent is never “gone”."""
        held = Conversation.objects.filter(
            owner__agent__in=queryset, state=Conversation.State.HUMAN
        )
        for conversation in held:
            desk.left(conversation)
        super().delete_queryset(request, queryset)

    @admin.display(description=_("may sign in"), boolean=True)
    def enters(self, agent: Agent) -> bool:
        return agent.user.is_staff and agent.user.is_active


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 1
    autocomplete_fields = ["agent"]


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):
    list_display = ["name", "calendar", "first_minutes", "next_minutes", "resolve_minutes"]
    search_fields = ["name"]
    autocomplete_fields = ["bases"]
    inlines = [MembershipInline]


class HoursInline(admin.TabularInline):
    model = Hours
    extra = 1


class SpecialDayInline(admin.TabularInline):
    model = SpecialDay
    extra = 1


@admin.register(Calendar)
class CalendarAdmin(admin.ModelAdmin):
    """Staff change any day; the holidays of this year and the next come by themselves, nightly."""

    inlines = [HoursInline, SpecialDayInline]
    actions = ["bring_in"]

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """A day that staff changed is theirs: the nightly list leaves it alone."""
        days = formset.save(commit=False)
        for day in days:
            if isinstance(day, SpecialDay):
                day.imported = False
            day.save()
        for day in formset.deleted_objects:
            day.delete()
        formset.save_m2m()

    @admin.action(description=_("Bring in the holidays of this year"), permissions=["change"])
    def bring_in(self, request: HttpRequest, queryset: QuerySet[Calendar]) -> None:
        for calendar in queryset:
            try:
                days = hours.bring_in(calendar, timezone.localdate().year)
            except NotImplementedError:
                problem = _("The holidays of this country are not known: %(country)s")
                self.message_user(
                    request, problem % {"country": calendar.country}, messages.WARNING
                )
                continue
            message = ngettext("%(n)d day brought in.", "%(n)d days brought in.", days)
            self.message_user(request, message % {"n": days}, messages.SUCCESS)


@admin.register(Handoff)
class HandoffAdmin(ReadOnlyAdmin):
    """What was handed off, waiting first, to look back at; people work at the console."""

    list_display = [
        "opened", "status", "reason", "waits", "contact", "taken_by", "requested_at", "rated",
    ]  # fmt: skip
    list_display_links = None
    list_filter = ["status", "reason", "requested_at", "satisfaction__score"]
    search_fields = ["conversation__title", "summary", "contact", "satisfaction__comment"]
    fields = [
        "opened", "status", "reason", "summary", "contact", "requested_at", "taken_by", "taken_at",
        "closed_at", "rated", "comment",
    ]  # fmt: skip
    readonly_fields = ["opened", "rated", "comment"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Handoff]:
        return (
            super().get_queryset(request).select_related("conversation", "taken_by", "satisfaction")
        )

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        rank = Case(
            *(When(status=status, then=Value(place)) for status, place in ORDER.items()),
            default=Value(len(ORDER)),
        )
        return [rank, Case(When(status__in=WAITING, then="pk")), "-pk"]

    @admin.display(description=_("conversation"))
    def opened(self, handoff: Handoff) -> SafeString:
        """At the console, for whoever may open it there."""
        url = f"{reverse('console')}#{handoff.conversation_id}"
        return format_html('<a href="{}">{}</a>', url, handoff.conversation)

    @admin.display(description=_("satisfaction"), ordering="satisfaction__score")
    def rated(self, handoff: Handoff) -> str:
        return str(getattr(handoff, "satisfaction", "-"))

    @admin.display(description=_("comment"))
    def comment(self, handoff: Handoff) -> str:
        given = getattr(handoff, "satisfaction", None)
        return given.comment if given and given.comment else "-"

    @admin.display(description=_("waiting time"))
    def waits(self, handoff: Handoff) -> str:
        until = handoff.taken_at or handoff.closed_at or timezone.now()
        return timesince(handoff.requested_at, until)


@admin.register(CannedReply)
class CannedReplyAdmin(admin.ModelAdmin):
    list_display = ["name", "text", "team"]
    list_filter = ["team"]
    search_fields = ["name", "text"]


@admin.register(Macro)
class MacroAdmin(admin.ModelAdmin):
    list_display = ["name", "does", "team"]
    list_filter = ["team", "then"]
    search_fields = ["name", "reply", "note"]
    formfield_overrides = WORDS
    fieldsets = [
        (None, {"fields": ["name", "team"]}),
        (_("What is done, in this order"), {
            "fields": ["note", "reply", "priority", "tags", "then", "to_team", "minutes"],
        }),
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Macro]:
        return super().get_queryset(request).select_related("team", "to_team")

    @admin.display(description=_("does"))
    def does(self, macro: Macro) -> str:
        return " · ".join(macro.steps)


@admin.register(Draft)
class DraftAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "conversation", "agent", "confidence", "outcome"]
    list_filter = ["outcome", "created_at"]
    search_fields = ["conversation__title", "text"]
    fields = ["conversation", "agent", "text", "confidence", "outcome", "created_at"]


@admin.register(OwnershipChange)
class OwnershipChangeAdmin(ReadOnlyAdmin):
    list_display = ["at", "conversation", "epoch", "action", "from_state", "to_state", "actor"]
    list_filter = ["action", "at"]
    search_fields = ["conversation__title", "actor__username"]
    fields = [
        "at", "conversation", "epoch", "action", "from_state", "to_state", "actor", "holder",
        "said",
    ]  # fmt: skip
    readonly_fields = ["said"]
    ordering = ["-at"]

    @admin.display(description=_("what the chat said"))
    def said(self, change: OwnershipChange) -> str:
        return change.message.text

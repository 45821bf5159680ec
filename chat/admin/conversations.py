"""Staff read conversations and see how each answer came about. Nothing is changed here."""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from chat import presenting
from chat.admin.topics import collected_html
from chat.models import Conversation, Turn
from chat.turns import bases
from opsdesk.admin import ReadOnlyAdmin

EXCERPT = 80  # characters of a question in a list


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "state", "owner", "channel", "who", "updated_at"]
    list_filter = ["state", "channel", "knowledge_base", "updated_at"]
    search_fields = ["title", "messages__text", "user__username"]
    date_hierarchy = "created_at"
    fields = [
        "title", "state", "owner", "channel", "who", "knowledge_base", "speaks", "created_at",
        "updated_at", "told", "transcript",
    ]  # fmt: skip
    readonly_fields = ["who", "speaks", "told", "transcript"]

    class Media:
        css = {"all": ["chat/admin.css", "chat/topics.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        return super().get_queryset(request).select_related("owner", "user")

    @admin.display(description=_("customer"))
    def who(self, conversation: Conversation) -> str:
        return str(conversation.user or conversation.identity or conversation.visitor[:8])

    @admin.display(description=_("language"))
    def speaks(self, conversation: Conversation) -> str:
        return str(dict(settings.LANGUAGES).get(conversation.language, conversation.language))

    @admin.display(description=_("told"))
    def told(self, conversation: Conversation) -> SafeString:
        return collected_html(conversation)

    @admin.display(description=_("transcript"))
    def transcript(self, conversation: Conversation) -> SafeString:
        return transcript_html(conversation)


def transcript_html(conversation: Conversation) -> SafeString:
    """All messages, notes among staff too, as staff see them."""
    messages = presenting.shown(conversation.messages.order_by("seq"))
    turns = dict(conversation.turns.exclude(reply=None).values_list("reply", "pk"))
    turns |= dict(conversation.turns.values_list("message", "pk"))
    rows = [
        (message, presenting.message_json(message), turns.get(message.pk)) for message in messages
    ]
    return render_to_string("admin/chat/messages.html", {"rows": rows})


@admin.register(Turn)
class TurnAdmin(ReadOnlyAdmin):
    list_display = [
        "asked", "outcome", "rated", "sureness", "status", "attempt", "seconds", "created_at",
    ]  # fmt: skip
    list_filter = [
        "outcome",
        "reply__rating__helpful",
        "reply__rating__reason",
        "status",
        "created_at",
    ]
    search_fields = ["message__text", "reply__text"]
    date_hierarchy = "created_at"
    fields = [
        "conversation_link", "question", "answer", "rated", "outcome", "sureness", "status",
        "attempt", "wanted", "created_at", "seconds", "missed", "how",
    ]  # fmt: skip
    readonly_fields = [
        "conversation_link", "question", "answer", "rated", "sureness", "wanted", "seconds",
        "missed", "how",
    ]  # fmt: skip

    class Media:
        css = {"all": ["chat/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Turn]:
        turns = super().get_queryset(request)
        return turns.select_related("message", "reply__rating", "conversation")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        turn = self.get_object(request, object_id)
        panels = [import_string(name)(request, turn) for name in settings.TURN_PANELS if turn]
        context = {"panels": panels, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    @admin.display(description=_("question"))
    def asked(self, turn: Turn) -> str:
        return Truncator(turn.message.text).chars(EXCERPT)

    @admin.display(description=_("confidence"), ordering="confidence")
    def sureness(self, turn: Turn) -> str:
        return "" if turn.confidence is None else f"{turn.confidence:.2f}"

    @admin.display(description=_("question"))
    def question(self, turn: Turn) -> str:
        return turn.message.text

    @admin.display(description=_("answer"))
    def answer(self, turn: Turn) -> str:
        return turn.reply.text if turn.reply else ""

    @admin.display(description=_("rating"))
    def rated(self, turn: Turn) -> str:
        rating = getattr(turn.reply, "rating", None)
        return " · ".join(filter(None, [str(rating), rating.comment])) if rating else ""

    @admin.display(description=_("asked back for"))
    def wanted(self, turn: Turn) -> str:
        return ", ".join(map(str, turn.pending.get("missing", []))) if turn.pending else ""

    @admin.display(description=_("conversation"))
    def conversation_link(self, turn: Turn) -> SafeString:
        url = reverse("admin:chat_conversation_change", args=[turn.conversation_id])
        return format_html('<a href="{}">{}</a>', url, turn.conversation)

    @admin.display(description=_("seconds"))
    def seconds(self, turn: Turn) -> str:
        if not turn.finished_at:
            return ""
        return f"{(turn.finished_at - turn.created_at).total_seconds():.1f}"

    @admin.display(description=_("a passage did not come?"))
    def missed(self, turn: Turn) -> SafeString:
        """Links to where it is seen why, in each base that was asked."""
        question = urlencode({"q": turn.trace.get("query") or turn.message.text})
        links = [
            (reverse("admin:knowledge_knowledgebase_missed", args=[base.pk]), question, base)
            for base in bases(turn.conversation)
        ]
        return format_html_join(", ", '<a href="{}?{}">{}</a>', links)

    @admin.display(description=_("how it came about"))
    def how(self, turn: Turn) -> SafeString:
        return render_to_string("admin/chat/trace.html", {"trace": turn.trace})

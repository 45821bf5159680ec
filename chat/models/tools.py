"""What OpsDesk may do beside answering: tools that staff set up, and every call of any tool."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from chat.models.conversations import Conversation, Turn
from chat.models.sites import WidgetSite
from knowledge.models import KnowledgeBase


def no_arguments() -> dict[str, Any]:
    return {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


class HttpTool(models.Model):
    """A service that is asked over HTTP: `chat.tools.http`."""

    class Method(models.TextChoices):
        GET = "GET", "GET"
        POST = "POST", "POST"
        PUT = "PUT", "PUT"
        PATCH = "PATCH", "PATCH"

    name = models.CharField(
        _("short name"),
        max_length=40,
        unique=True,
        validators=[RegexValidator(r"^[a-z][a-z0-9_]*\Z", _("Use a–z, 0–9 and _."))],
        help_text=_("For the record and for the model, such as order_status."),
    )
    title = models.CharField(
        _("title"), max_length=80, help_text=_("As customers read it, such as “order status”.")
    )
    description = models.TextField(
        _("what it is for"),
        max_length=500,
        help_text=_("A sentence or two by which a language model chooses it."),
    )
    triggers = models.TextField(
        _("example questions"),
        max_length=4000,
        blank=True,
        help_text=_(
            "One a line, with what is to be told in braces: “订单 {order} 到哪了”. They choose the "
            "tool without a language model too."
        ),
    )
    method = models.CharField(_("method"), max_length=5, choices=Method, default=Method.GET)
    url = models.CharField(
        _("address"),
        max_length=1000,
        help_text=_("Such as https://erp.corp/api/orders/{order}; braces behind the host only."),
    )
    headers = models.TextField(
        _("headers"), max_length=4000, blank=True, help_text=_("One a line, “Name: value”.")
    )
    secret = models.TextField(blank=True, editable=False)  # headers with secrets, sealed
    body = models.TextField(
        _("body"),
        max_length=8000,
        blank=True,
        help_text=_("JSON with {names} inside its texts. Not for GET."),
    )
    # JSON Schema of the arguments: {"type": "object", "properties": {name: {"type", "title",
    # "ask", "pattern", "enum", "examples"}}, "required": [name, …]}
    schema = models.JSONField(_("arguments"), default=no_arguments, blank=True)
    answer = models.TextField(
        _("what is said"),
        max_length=4000,
        help_text=_(
            "With {arguments} and {paths.of.the.result}; nothing else of a result is shown."
        ),
    )
    nothing = models.CharField(
        _("what is said when there is nothing"),
        max_length=500,
        blank=True,
        help_text=_("After 404, or when nothing of the above is in the result."),
    )
    timeout = models.PositiveSmallIntegerField(
        _("timeout"),
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(50)],
        help_text=_("Seconds. What takes longer than a moment is delivered later."),
    )
    repeatable = models.BooleanField(
        _("may be asked twice"),
        default=False,
        help_text=_("It only looks something up. GET always may."),
    )
    sensitive = models.BooleanField(
        _("sensitive"),
        default=False,
        help_text=_("Only for people whose identity is known, and after they confirmed it."),
    )
    users = models.BooleanField(
        _("knows signed-in users"),
        default=True,
        help_text=_("Their user names are the ones that the service has."),
    )
    sites = models.ManyToManyField(
        WidgetSite,
        verbose_name=_("knows visitors of"),
        blank=True,
        related_name="+",
        help_text=_(
            "Sites whose word it takes for who their visitor is, where it is sensitive or sends "
            "{user}. Two sites may call two people the same: choose those that have the service's "
            "names."
        ),
    )
    groups = models.ManyToManyField(
        Group,
        verbose_name=_("groups"),
        blank=True,
        related_name="+",
        help_text=_("Only members may use it. None chosen: everybody."),
    )
    bases = models.ManyToManyField(
        KnowledgeBase,
        verbose_name=_("knowledge bases"),
        blank=True,
        related_name="+",
        help_text=_("Only where one of them is asked. None chosen: everywhere."),
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("HTTP tool")
        verbose_name_plural = _("HTTP tools")
        ordering = ["title"]

    def __str__(self) -> str:
        return self.title


class ToolCall(models.Model):
    """One use of a tool: proposed, made, or refused. What stands here cannot be changed."""

    class Status(models.TextChoices):
        ASKED = "asked", _("waits for confirmation")
        QUEUED = "queued", _("goes on in the background")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        UNKNOWN = "unknown", _("broken off, outcome unknown")
        CANCELLED = "cancelled", _("cancelled")
        REFUSED = "refused", _("not allowed")

    tool = models.CharField(_("tool"), max_length=40, db_index=True)
    # A record outlives what it is about.
    conversation = models.ForeignKey(
        Conversation,
        models.SET_NULL,
        null=True,
        related_name="tool_calls",
        verbose_name=_("conversation"),
    )
    turn = models.ForeignKey(
        Turn, models.SET_NULL, null=True, related_name="tool_calls", verbose_name=_("turn")
    )
    confirmed = models.ForeignKey(
        Turn, models.SET_NULL, null=True, related_name="+", verbose_name=_("confirmed in")
    )
    epoch = models.PositiveIntegerField(default=0)  # the conversation's, under which it may speak
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("user"),
    )
    visitor = models.CharField(_("visitor"), max_length=64, blank=True)
    identity = models.CharField(_("identity"), max_length=200, blank=True)
    arguments = models.JSONField(_("arguments"), default=dict)  # masked
    sealed = models.TextField(blank=True)  # the arguments themselves, until it is over
    digest = models.CharField(max_length=64)  # of the tool as it stood, and the arguments
    status = models.CharField(_("status"), max_length=10, choices=Status)
    result = models.TextField(_("result"), blank=True)  # what was said of it, Markdown
    error = models.CharField(_("error"), max_length=500, blank=True)
    seconds = models.FloatField(_("seconds"), null=True)
    trial = models.BooleanField(_("trial"), default=False)  # by staff, in the administration
    created_at = models.DateTimeField(_("created"), auto_now_add=True, db_index=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("tool call")
        verbose_name_plural = _("tool calls")
        ordering = ["-id"]
        constraints = [
            # A step that runs twice finds what it did.
            models.UniqueConstraint(
                fields=["turn", "tool", "digest"],
                condition=Q(turn__isnull=False),
                name="tool_call_once_a_turn",
            ),
        ]
        indexes = [
            models.Index(
                fields=["tool", "digest", "-finished_at"],
                condition=Q(status="done"),
                name="tool_call_last_good",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool} #{self.pk}"

    @property
    def who(self) -> str:
        return str(self.user or self.identity or self.visitor[:8])

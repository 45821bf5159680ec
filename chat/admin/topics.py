"""Staff define topics: what messages are about, and what is asked before anything is looked for."""

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from chat import presenting, slots
from chat.asking import MESSAGE_LENGTH
from chat.models import Collected, Conversation, Topic
from chat.topics import exchange, schema, trial
from knowledge.forms import LinesField, quoted
from knowledge.models import KnowledgeBase
from opsdesk.errors import ParseError

TRIED = -1  # the key of a topic that is not saved yet


class WordsField(LinesField):
    """Texts, one a line, each at most `longest` characters."""

    def __init__(self, *, longest: int, **options: Any) -> None:
        self.longest = longest
        super().__init__(required=False, **options)

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        return [line.strip() for line in super().to_python(value)]

    def validate(self, value: Any) -> None:
        super().validate(value)
        if len(value) > exchange.MOST_WORDS:
            text = _("At most %(most)d lines.")
            raise ValidationError(text % {"most": exchange.MOST_WORDS})
        if long := next((line for line in value if len(line) > self.longest), ""):
            text = _("“%(word)s” is longer than %(most)d characters.")
            raise ValidationError(text % {"word": quoted(long), "most": self.longest})


class SchemaField(forms.CharField):
    """A topic's fields, written as JSON Schema; the page edits them as rows."""

    widget = forms.Textarea(attrs={"rows": 16, "class": "vLargeTextField", "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return json.dumps(value, ensure_ascii=False, indent=2)
        return value

    def to_python(self, value: Any) -> Any:
        try:
            made = schema.parse(super().to_python(value) or "")
        except ValueError as error:
            raise ValidationError(str(error)) from error
        problems = schema.problems(made)
        if problems:
            raise ValidationError(problems)
        order = [one.name for one in schema.fields(made)]
        return {"$schema": schema.DIALECT, **made, "x-order": order}


class TopicForm(forms.ModelForm):
    triggers = WordsField(
        longest=100,
        label=gettext_lazy("Trigger words"),
        help_text=gettext_lazy(
            "One a line: a message that holds one is about this topic. Words with a space "
            "between them have to be there together, in any order."
        ),
    )
    examples = WordsField(
        longest=200,
        label=gettext_lazy("Example questions"),
        help_text=gettext_lazy("One a line: a message like one of these is about this topic."),
    )
    schema = SchemaField(label=gettext_lazy("Fields as JSON Schema"))

    class Meta:
        model = Topic
        fields = [
            "name", "description", "enabled", "knowledge_bases", "when", "triggers", "examples",
            "schema",
        ]  # fmt: skip
        widgets = {"knowledge_bases": forms.CheckboxSelectMultiple}


class ImportForm(forms.Form):
    file = forms.FileField(
        label=gettext_lazy("File"), help_text=gettext_lazy("A topic that was exported as JSON.")
    )


@admin.register(Topic)
class TopicAdmin(admin.ModelAdmin):
    form = TopicForm
    list_display = ["name", "enabled", "asked_for", "where", "when", "updated_at"]
    list_filter = ["enabled", "when", "knowledge_bases"]
    list_per_page = 50
    search_fields = ["name", "description"]
    actions = ["enable", "disable"]
    change_form_template = "admin/chat/topic/change_form.html"
    change_list_template = "admin/chat/topic/change_list.html"
    fieldsets = [
        (None, {"fields": [
            "name", "description", "enabled", "triggers", "examples", "when", "knowledge_bases",
        ]}),
        (gettext_lazy("What has to be known"), {"fields": ["schema"]}),
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Topic]:
        return super().get_queryset(request).prefetch_related("knowledge_bases")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("import/", view(self.import_view), name="chat_topic_import"),
            path("try/", view(require_POST(self.try_view)), name="chat_topic_try"),
            path("<int:pk>/export/", view(self.export_view), name="chat_topic_export"),
            *super().get_urls(),
        ]

    @admin.display(description=gettext_lazy("asks for"))
    def asked_for(self, topic: Topic) -> str:
        return "、".join(one.label for one in schema.fields(topic.schema) if one.required)

    @admin.display(description=gettext_lazy("knowledge bases"))
    def where(self, topic: Topic) -> str:
        return "、".join(base.name for base in topic.knowledge_bases.all()) or _("all")

    @admin.action(description=gettext_lazy("Enable"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Topic]) -> None:
        self._switch(request, queryset, True)

    @admin.action(description=gettext_lazy("Disable"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Topic]) -> None:
        self._switch(request, queryset, False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Topic], enabled: bool) -> None:
        count = queryset.update(enabled=enabled, updated_at=timezone.now())
        if enabled:
            text = ngettext("%(n)d topic counts now.", "%(n)d topics count now.", count)
        else:
            text = ngettext("%(n)d topic counts no more.", "%(n)d topics count no more.", count)
        self.message_user(request, text % {"n": count}, messages.SUCCESS)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        empty = {"$schema": schema.DIALECT, "type": "object", "properties": {}, "required": []}
        return {"schema": empty, **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: Topic, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not obj.triggers and not obj.examples:
            text = _("Without words and example questions only a model can tell its messages.")
            self.message_user(request, text, messages.WARNING)

    # --- trying it -------------------------------------------------------------------

    def try_view(self, request: HttpRequest) -> HttpResponse:
        """What becomes of the posted messages by the posted form; nothing is written."""
        pk = request.POST.get("topic", "")
        saved = get_object_or_404(Topic, pk=pk) if pk.isdecimal() and len(pk) < 19 else None
        allowed = self.has_change_permission(request, saved) if saved else None
        if not (allowed or (saved is None and self.has_add_permission(request))):
            raise PermissionDenied
        form = TopicForm(_named(request), instance=saved)
        if not form.is_valid():
            errors = [
                f"{form[name].label}: {error}" if name in form.fields else error
                for name, found in form.errors.items()
                for error in found
            ]
            return JsonResponse({"errors": errors}, status=400)
        return JsonResponse({"html": self._tried(request, form)})

    def _tried(self, request: HttpRequest, form: TopicForm) -> str:
        topic: Topic = form.instance
        others = list(Topic.objects.filter(enabled=True).exclude(pk=topic.pk))
        topic.pk = topic.pk or TRIED
        said = [line.replace("\x00", "")[:MESSAGE_LENGTH] for line in request.POST.getlist("said")]
        chosen = form.cleaned_data["knowledge_bases"]
        bases = list(chosen) or list(KnowledgeBase.objects.all())
        steps = trial.play([topic, *others], said[: trial.MESSAGES], bases)
        rows = [(step, presenting.html(step.reply) if step.reply else "") for step in steps]
        context = {"rows": rows, "topic": topic, "full": len(said) >= trial.MESSAGES}
        return render_to_string("admin/chat/topic/steps.html", context, request)

    # --- as a file -------------------------------------------------------------------

    def export_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        topic = get_object_or_404(Topic, pk=pk)
        if not self.has_view_permission(request, topic):
            raise PermissionDenied
        response = HttpResponse(exchange.exported(topic), content_type="application/json")
        header = content_disposition_header(True, f"{topic.name}.json")
        response.headers["Content-Disposition"] = header or ""
        return response

    def import_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ImportForm(request.POST or None, request.FILES or None)
        if form.is_valid():
            try:
                topic = exchange.take(form.cleaned_data["file"].read(exchange.LARGEST + 1))
            except ParseError as error:
                form.add_error("file", str(error))
            else:
                self.log_addition(request, topic, [{"added": {}}])
                text = _("The topic “%(name)s” was imported.") % {"name": topic.name}
                self.message_user(request, text, messages.SUCCESS)
                return redirect("admin:chat_topic_change", topic.pk)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Import a topic"),
            "opts": self.opts,
            "form": form,
        }
        return TemplateResponse(request, "admin/chat/topic/import.html", context)


def _named(request: HttpRequest) -> Any:
    """The posted form, under some name while it has none."""
    posted = request.POST.copy()
    if not posted.get("name", "").strip():
        posted["name"] = _("new topic")
    return posted


def collected_html(conversation: Conversation) -> SafeString:
    """What a customer told of topics, as staff see it on the conversation's page."""
    rows = [(row, slots.told(row)) for row in Collected.objects.filter(conversation=conversation)]
    return render_to_string("admin/chat/topic/collected.html", {"rows": rows})

"""Tools that every installation has."""

from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Message, Turn
from chat.tools.base import Context, Result, Tool


class _Export(Tool):
    """A link to the last answer with sources as a file."""

    view: str

    def run(self, arguments: dict[str, Any], context: Context) -> Result:
        assert context.conversation is not None  # noqa: S101
        answers = context.conversation.messages.filter(
            role=Message.Role.ASSISTANT, public=True, citations__isnull=False
        ).exclude(replied_turn__outcome=Turn.Outcome.CLARIFYING)
        last = answers.order_by("-seq").first()
        if last is None:
            return Result(_("There is no answer with sources yet that could be exported."))
        said = _("The last answer as a file: [%(title)s](%(url)s)")
        return Result(said % {"title": self.title, "url": reverse(self.view, args=[last.pk])})


class ExportPdf(_Export):
    name, title, view = "export_pdf", gettext_lazy("Save as PDF"), "export_pdf"
    description = "把上一条回答导出成 PDF 文件。"


class ExportDocx(_Export):
    name, title, view = "export_docx", gettext_lazy("Save as Word"), "export_docx"
    description = "把上一条回答导出成 Word 文件。"


class CallHuman(Tool):
    name, title = "call_human", gettext_lazy("Talk to a person")
    description = "用户明确要求由人工处理时，转接人工。"

    def run(self, arguments: dict[str, Any], context: Context) -> Result:
        return Result(person=True)


class SearchKnowledge(Tool):
    name, title = "search_knowledge", gettext_lazy("Search the knowledge")
    description = "换一种说法再查一次知识库。query 是完整的问题或关键词。"
    schema = {
        "type": "object",
        "properties": {"query": {"type": "string", "minLength": 2, "maxLength": 200}},
        "required": ["query"],
        "additionalProperties": False,
    }
    told = False

    def run(self, arguments: dict[str, Any], context: Context) -> Result:
        return Result(query=arguments["query"])

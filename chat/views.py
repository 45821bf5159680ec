"""The chat page, and answers as files."""

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, render
from django.templatetags.static import static
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chat import visitors
from chat.asking import MESSAGE_LENGTH
from chat.limits import allow
from chat.models import Message, Rating
from chat.uploads import A_MESSAGE, TEXT_LENGTH
from knowledge import scope
from knowledge.models import Chunk, KnowledgeBase, Revision
from opsdesk.errors import BoundaryError

if TYPE_CHECKING:
    from chat.exports.answer import Answer

KATEX = "0.19.1"  # its folder in static/vendor
EXPORTS_A_MINUTE = 10  # of one person: setting a long table takes seconds
EXAMPLES = 4
EXAMPLE_LENGTH = 40  # characters: longer questions do not read well on a button

# What the page's scripts say; everything else stands in the template.
STRINGS = {
    "step.clarify": _("Understanding the question…"),
    "step.recall": _("Searching…"),
    "step.answer": _("Answering…"),
    "step.escalate": _("Calling a person…"),
    "sending": _("Sending…"),
    "received": _("Received. The assistant begins shortly; you can also talk to a person."),
    "waiting": _("Waiting for the network"),
    "failed": _("Not sent"),
    "copied": _("Copied"),
    "page": _("page %(page)s"),
    "pages": _("%(page)s / %(pages)s"),
    "source": _("Source %(n)s: %(title)s"),
    "left": _("%(left)s characters left"),
    "over": _("%(over)s characters too many"),
    "state.nobody": _("Nobody is on duty now. Your questions are kept for them."),
    "state.queued": _("Called. Waiting for a person…"),
    "state.ahead": _("Called. %(waiting)s ahead of you."),
    "state.human": _("%(agent)s is with you."),
    "state.human.unnamed": _("A person is with you."),
    "state.resolved": _("Resolved. Ask again whenever you like."),
    "typing": _("%(agent)s is typing…"),
    "rated": _("Thank you. You rated %(score)s of 5."),
    "offline": _("You are offline. What you write is sent when the network is back."),
    "reconnecting": _("Connection lost. Reconnecting…"),
    "refused.4401": _("Your browser keeps no cookie for this page. Allow it, then reload."),
    "refused.4403": _("You are signed out. Sign in, then reload."),
    "refused.4404": _("The chat is not offered here any more."),
    "file.remove": _("Remove %(name)s"),
    "file.failed": _("Could not be sent. Remove it and try again."),
    "file.many": _("At most %(number)s files in one message."),
    "file.sending": _("Sending files…"),
    "file.waiting": _("Sending files… The message is sent when they have arrived."),
    "file.pasted": _("pasted.txt"),
    "person": _("Person"),
    "picture.missing": _("The picture cannot be shown."),
    "original.missing": _("The original cannot be shown here any more. The quoted passage:"),
}


@never_cache
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """The chat page. Makes a visitor of whoever asks."""
    response = show(request, list(KnowledgeBase.objects.readable_by(request.user)))
    visitors.remember(request, response)
    return response


def show(
    request: HttpRequest, bases: list[KnowledgeBase], more: dict[str, Any] | None = None
) -> HttpResponse:
    """The page, asking `bases`; `more`: what a page in a frame differs in."""
    context = {"embedded": None, "title": "", **(more or {})}
    vendor = f"vendor/katex-{KATEX}/katex.min"
    config = {
        "strings": STRINGS,
        "length": MESSAGE_LENGTH,
        "csrf": get_token(request),
        "katex": {"script": static(f"{vendor}.js"), "style": static(f"{vendor}.css")},
        "embedded": context["embedded"],
        "uploads": {"url": reverse("uploads"), "number": A_MESSAGE, "characters": TEXT_LENGTH},
    }
    knows = Chunk.objects.filter(
        scope.answering("document__"), knowledge_base__in=bases, enabled=True
    ).exists()
    return render(
        request,
        "chat/page.html",
        {
            "bases": bases,
            "examples": examples(bases),
            "knows": knows,
            "reading": not knows and _reading(bases),
            "reasons": Rating.Reason.choices,
            "config": config,
            "person": request.user if not context["embedded"] else AnonymousUser(),
            **context,
        },
    )


def _reading(bases: list[KnowledgeBase]) -> bool:
    """Whether a document is being read that nothing is known of yet."""
    first = Revision.objects.unfinished().filter(document__current=None)
    return first.filter(document__knowledge_base__in=bases).exists()


def examples(bases: list[KnowledgeBase]) -> list[str]:
    """A few short questions that `bases` answer word for word, of different documents first."""
    questions = (
        Chunk.objects.filter(
            scope.answering("document__"),
            knowledge_base__in=bases,
            kind=Chunk.Kind.QA,
            enabled=True,
        )
        .order_by("-pk")
        .values_list("document", "question")[:200]
    )
    short = [(document, q) for document, q in questions if 0 < len(q) <= EXAMPLE_LENGTH]
    seen: dict[int, int] = {}
    ranked = []
    for document, question in reversed(short):
        seen[document] = seen.get(document, 0) + 1
        ranked.append((seen[document], question))
    ranked.sort(key=lambda pair: pair[0])
    return [question for _turn, question in ranked[:EXAMPLES]]


def _answer(request: HttpRequest, pk: int) -> "Answer":
    message = get_object_or_404(
        Message.objects.select_related("conversation"),
        pk=pk,
        public=True,
        role__in=(Message.Role.ASSISTANT, Message.Role.AGENT),
    )
    if not visitors.may_read(message.conversation, request):
        raise Http404
    from chat.exports.answer import Answer  # with what it imports only when asked for

    return Answer.of(message, request.build_absolute_uri("/").rstrip("/"))


def _export(suffix: str, media_type: str) -> Any:
    @never_cache
    @require_safe
    def view(request: HttpRequest, pk: int) -> HttpResponse:
        answer = _answer(request, pk)
        who = request.user.pk or visitors.visitor(request.COOKIES)
        if not allow(f"export:{who}", EXPORTS_A_MINUTE):
            sentence = _("Too many exports. Please wait a minute.")
            return HttpResponse(sentence, status=429, content_type="text/plain; charset=utf-8")
        try:
            content = import_string(f"chat.exports.{suffix}.export")(answer)
        except BoundaryError as error:
            return HttpResponse(str(error), status=500, content_type="text/plain; charset=utf-8")
        response = HttpResponse(content, content_type=media_type)
        name = f"{answer.file_name}.{suffix}"
        response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
        return response

    return view


export_pdf = _export("pdf", "application/pdf")
export_docx = _export(
    "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
)

"""One item a page: what was asked and answered, the passages beside their original, the verdict."""

import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path, PurePath
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_POST

from chat import presenting
from chat.models import Message
from chat.views import KATEX
from evaluation import claiming, golden, label_sheets, labelling, pooling
from evaluation.labelling import Form
from evaluation.models import GoldenQuestion, Item, Label, PooledPassage, Sample, Verdict
from knowledge import pages, permissions, sheets
from knowledge.admin.entries import TYPES, download
from knowledge.masking import masked
from knowledge.models import Chunk
from opsdesk.errors import Conflict, ParseError

HISTORY = 6  # messages shown before the question
LONGEST_QUERY = 500
WORDS = {  # for the original beside the answer, which the chat's own script shows
    "page": gettext_lazy("page %(page)s"),
    "pages": gettext_lazy("page %(page)s of %(pages)s"),
    "original.missing": gettext_lazy("The original cannot be shown. This was cited:"),
}
# How a passage came into the pool.
WAYS = {
    "shown": gettext_lazy("shown"),
    "cited": gettext_lazy("cited"),
    "words": gettext_lazy("words"),
    "dense": gettext_lazy("meaning"),
    "sparse": gettext_lazy("weighted words"),
    "learned": gettext_lazy("learned"),
    "fused": gettext_lazy("together"),
    "ranked": gettext_lazy("ranking"),
    "reworded": gettext_lazy("other settings"),
    "search": gettext_lazy("looked up"),
}


def urls(site: admin.AdminSite) -> list[URLPattern]:
    """Below the list of samples."""
    views: list[tuple[str, Callable[..., HttpResponse], str]] = [
        ("<int:pk>/claim/", claim_view, "claim"),
        ("<int:pk>/labels.<str:kind>", export_view, "export"),
        ("<int:pk>/import/", import_view, "import"),
        ("labels/<int:pk>/", label_view, "label"),
        ("labels/<int:pk>/keep/", keep_view, "keep"),
        ("labels/<int:pk>/finish/", finish_view, "finish"),
        ("labels/<int:pk>/pass/", pass_view, "pass"),
        ("labels/<int:pk>/undo/", undo_view, "undo"),
        ("labels/<int:pk>/search/", search_view, "search"),
        ("labels/<int:pk>/add/", add_view, "pool"),
    ]
    return [
        path(route, site.admin_view(view), name=f"evaluation_sample_{name}")
        for route, view, name in views
    ]


# --- claiming ---------------------------------------------------------------------------


@require_POST
def claim_view(request: HttpRequest, pk: int) -> HttpResponse:
    sample = get_object_or_404(Sample, pk=pk)
    return _next(request, sample, request.POST.get("decide") == "1")


def _next(request: HttpRequest, sample: Sample, decide: bool, last: int = 0) -> HttpResponse:
    """To the next item; to the sample's page when there is none left."""
    if not (claiming.may_label(request.user) or (decide and claiming.may_decide(request.user))):
        raise PermissionDenied
    label = claiming.claim(sample, request.user, decide)
    after = f"?last={last}" if last else ""
    if label is None:
        nothing = [_("Nothing is left for you to label."), _("Nothing is left to decide.")]
        messages.success(request, nothing[decide])
        return redirect(reverse("admin:evaluation_sample_change", args=[sample.pk]) + after)
    return redirect(reverse("admin:evaluation_sample_label", args=[label.pk]) + after)


def _mine(request: HttpRequest, pk: int) -> Label:
    if not (claiming.may_label(request.user) or claiming.may_decide(request.user)):
        raise PermissionDenied
    label = claiming.mine(request.user, pk)
    if label is None:
        raise Http404
    return label


# --- the page ---------------------------------------------------------------------------


@require_GET
def label_view(request: HttpRequest, pk: int) -> HttpResponse:
    label = _mine(request, pk)
    item = label.item
    if item.turn is None or label.done_at:  # by the browser's way back: one undoes it first
        return redirect("admin:evaluation_sample_change", item.sample_id)
    context = {
        **admin.site.each_context(request),
        "title": _("Item %(n)d of %(size)d") % {"n": item.position, "size": item.sample.size},
        "opts": Sample._meta,
        "is_nav_sidebar_enabled": False,  # room for the original
        "label": label,
        "item": item,
        "sample": item.sample,
        "kinds": labelling.kinds(item),
        "grounded": labelling.GROUNDED,
        "last": _undoable(request),
        "labelled": Label.objects.done().filter(
            item__sample=item.sample, rater_id=request.user.pk, adjudicates=label.adjudicates
        ).count(),
        "may_keep": golden.may_add(request.user, golden.base_of(item.turn)),
        "config": _config(),
        **_asked(item),
        **_said(label),
    }  # fmt: skip
    return TemplateResponse(request, "admin/evaluation/sample/label.html", context)


def _config() -> dict[str, Any]:
    """What the chat's script that shows originals wants to know."""
    vendor = f"vendor/katex-{KATEX}/katex.min"
    return {
        "strings": {name: str(words) for name, words in WORDS.items()},
        "katex": {"script": static(f"{vendor}.js"), "style": static(f"{vendor}.css")},
    }


def _undoable(request: HttpRequest) -> Label | None:
    """The label that was given just before, to take back."""
    last = request.GET.get("last", "")
    if not last.isdecimal() or len(last) > 15:
        return None
    labels = Label.objects.done().filter(pk=int(last), rater_id=request.user.pk)
    return labels.select_related("item").first()


def _asked(item: Item) -> dict[str, Any]:
    """The question with what came before it, and the answer's citations; masked."""
    turn = item.turn
    assert turn  # noqa: S101
    before = Message.objects.filter(
        conversation=turn.conversation_id, seq__lt=turn.message.seq, public=True
    ).order_by("-seq")[:HISTORY]
    query = turn.trace.get("query", "")
    citations = list(turn.reply.citations.all()) if turn.reply else []
    return {
        "turn": turn,
        "history": [(one, masked(one.text)) for one in reversed(before)],
        "question": masked(turn.message.text),
        "query": query if query != turn.message.text else "",
        "citations": [presenting.citation_json(one) for one in citations],
    }


def _said(label: Label) -> dict[str, Any]:
    """Sentences and passages as they are marked: by the draft, or where others agree already."""
    item, said = label.item, labelling.said_of(label.item) if label.adjudicates else []
    agreed = labelling.settle(item, said, [], item.sample)
    verdict, sentences, passages = labelling.disputes(said, item.sample.raters)
    drafted = {one["n"]: one["supported"] for one in label.sentences} or agreed.sentences
    again = {one["n"] for one in label.sentences if one.get("again")}
    marks = label.draft.get("relevant", {}) or _agreed_passages(said)
    kind = label.kind or agreed.kind or ""
    return {
        "kind": kind,
        "others": [(chr(ord("A") + n), one, Verdict.Kind(one.kind)) for n, one in enumerate(said)],
        "verdict_disputed": verdict,
        "sentences": [
            {
                **one,
                "supported": drafted.get(one["n"], True),
                "disputed": one["n"] in sentences,
                "again": one["n"] in again,
            }
            for one in _sentences(item)
        ],
        "pool": [
            _passage(n, one, marks, kind, passages)
            for n, one in enumerate(item.pool.select_related("chunk"), 1)
        ],
        "touched": bool(marks),
    }


def _agreed_passages(said: list[labelling.Said]) -> dict[str, bool]:
    """What two raters say alike of passages, for who decides."""
    first, *others = [one.relevant for one in said if not one.adjudicates] or [{}]
    return {
        key: yes for key, yes in first.items() if all(one.get(key, yes) == yes for one in others)
    }


def _sentences(item: Item) -> list[dict[str, Any]]:
    reply = item.turn.reply if item.turn else None
    if reply is None:
        return []
    count = reply.citations.count()
    return [
        {"n": n, "html": presenting.html(masked(text), count)}
        for n, text in enumerate(labelling.sentences_of(reply.text), 1)
    ]


def _passage(
    n: int, passage: PooledPassage, marks: dict[str, bool], kind: str, disputed: list[str]
) -> dict[str, Any]:
    chunk = passage.chunk
    usual = bool(kind) and labelling.usual(passage, kind)
    return {
        "n": n,
        "row": passage,
        "html": pages.markdown(passage.text) if passage.text else "",
        "ways": [WAYS.get(way, way) for way in passage.methods],
        "cited": "cited" in passage.methods,
        "relevant": marks.get(passage.key, usual),
        "disputed": passage.key in disputed,
        "place": {
            "title": passage.title,
            "locator": passage.locator,
            "quote": passage.text,
            "page": chunk.page if chunk else None,
            "regions": chunk.regions if chunk else [],
            "url": reverse("revision", args=[chunk.revision_id]) if chunk else None,
        },
    }


# --- what is done on it -------------------------------------------------------------------


def form_of(request: HttpRequest, item: Item) -> Form:
    """What was posted: sentences and passages as they stood on the page."""
    post = request.POST
    marked, supported = set(post.getlist("relevant")), set(post.getlist("supported"))
    unsupported = [n for n in post.getlist("sentence") if n not in supported and _short(n)]
    repeated = frozenset(int(n) for n in post.getlist("again")[:500] if _short(n))
    seconds = post.get("seconds", "")
    return Form(
        kind=post.get("kind", ""),
        note=post.get("note", "").replace("\x00", ""),
        unsupported=frozenset(map(int, unsupported)),
        repeated=repeated,
        relevant={key: key in marked for key in post.getlist("pool")[:500]},
        seconds=int(seconds) if _short(seconds) else 0,
    )


def _short(number: str) -> bool:
    return number.isdecimal() and len(number) < 8


def _answering(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A POST about a label of one's own; what is wrong is said on the page one comes from."""

    @require_POST
    @wraps(view)
    def answering(request: HttpRequest, pk: int) -> HttpResponse:
        label = _mine(request, pk)
        try:
            return view(request, label)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
            return redirect("admin:evaluation_sample_label", pk)
        except Conflict as error:
            messages.warning(request, str(error))
            return _next(request, label.item.sample, label.adjudicates)

    return answering


@require_POST
def keep_view(request: HttpRequest, pk: int) -> HttpResponse:
    """A draft, while it is written: by a script, without words."""
    label = _mine(request, pk)
    if label.done_at is None:
        labelling.keep(label, form_of(request, label.item))
    return HttpResponse(status=204)


@_answering
def finish_view(request: HttpRequest, label: Label) -> HttpResponse:
    if label.done_at is None:
        form = form_of(request, label.item)
        labelling.keep(label, form)  # should it be refused, it stands there again
        labelling.finish(label, form)
        if "golden" in request.POST:
            _propose(request, label, form)
    return _next(request, label.item.sample, label.adjudicates, label.pk)


def _propose(request: HttpRequest, label: Label, form: Form) -> None:
    """Propose the question as a golden one, with the passages that were marked."""
    turn = label.item.turn
    base = golden.base_of(turn) if turn else None
    if turn is None or base is None or not golden.may_add(request.user, base):
        return
    refused = form.kind in (Verdict.Kind.UNANSWERABLE, Verdict.Kind.REFUSED)
    expected = GoldenQuestion.Expected.REFUSED if refused else GoldenQuestion.Expected.ANSWERED
    marked = [key for key, relevant in (form.relevant or {}).items() if relevant]
    chunks = Chunk.objects.filter(pk__in=label.item.pool.filter(key__in=marked).values("chunk"))
    golden.add(
        turn.trace.get("query") or turn.message.text,
        GoldenQuestion.Source.LABEL,
        base=base,
        user=request.user,
        expected=expected,
        passages=() if refused else chunks.select_related("document"),
        note=form.note,
    )
    messages.success(request, _("“%s” is proposed as a golden question.") % turn.message.text[:60])


@_answering
def pass_view(request: HttpRequest, label: Label) -> HttpResponse:
    labelling.keep(label, form_of(request, label.item))
    claiming.pass_over(label)
    return _next(request, label.item.sample, label.adjudicates)


@_answering
def undo_view(request: HttpRequest, label: Label) -> HttpResponse:
    labelling.undo(label)
    return redirect("admin:evaluation_sample_label", label.pk)


# --- looking further -----------------------------------------------------------------------


@require_GET
def search_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Passages for the rater's own words, as a fragment; those of the pool say so."""
    label = _mine(request, pk)
    query = request.GET.get("q", "").replace("\x00", "").strip()[:LONGEST_QUERY]
    found = []
    if query and label.item.turn:
        own = permissions.bases(request.user, "view")
        there = dict(label.item.pool.exclude(chunk=None).values_list("chunk", "pk"))
        found = [
            (one, pages.markdown(one.text), there.get(one.chunk_id))
            for one in pooling.look_up(label.item, query, own)
        ]
    context = {"found": found, "query": query}
    return render(request, "admin/evaluation/sample/found.html", context)


@require_POST
def add_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Put a passage into the pool, marked; answers with it as the page shows it."""
    label = _mine(request, pk)
    if label.item.turn is None:
        raise Http404
    number = request.POST.get("chunk", "")
    own = pooling.asked(label.item, permissions.bases(request.user, "view"))
    chunk = get_object_or_404(
        Chunk.objects.select_related("document").filter(knowledge_base__in=own),
        pk=int(number) if _short(number) else 0,
    )
    if label.done_at:
        return JsonResponse({"error": _("This item is labelled already.")}, status=409)
    passage = pooling.add(label.item, chunk)
    n = label.item.pool.count()
    shown = _passage(n, passage, {passage.key: True}, "", [])
    return render(request, "admin/evaluation/sample/passage.html", {"passage": shown})


# --- sheets -------------------------------------------------------------------------------


def may_export(user: Any) -> bool:
    """All labels, not their own alone."""
    return bool(user.has_perm("evaluation.add_sample") or claiming.may_decide(user))


@require_GET
def export_view(request: HttpRequest, pk: int, kind: str) -> HttpResponse:
    """All labels of what one may read, for who may see them; `?mine` asks for one's own."""
    sample = get_object_or_404(Sample, pk=pk)
    mine = "mine" in request.GET
    if kind not in TYPES:
        raise Http404
    if not (claiming.may_label(request.user) if mine else may_export(request.user)):
        raise PermissionDenied
    rows = label_sheets.exported(sample, request.user, mine)
    if kind == "csv":
        return download(rows, f"labels-{pk}", kind)
    made = sheets.to_xlsx(rows, _("Labels"), label_sheets.WIDTHS)
    return download(rows, f"labels-{pk}", kind, made)


class SheetForm(forms.Form):
    file = forms.FileField(
        label=gettext_lazy("Sheet"),
        help_text=gettext_lazy(
            "XLSX or CSV, as it is exported here. Rows without a verdict wait. Relevant passages"
            " left empty are those that a right answer cites; 0 says that none is."
        ),
    )


def import_view(request: HttpRequest, pk: int) -> HttpResponse:
    sample = get_object_or_404(Sample, pk=pk)
    if not claiming.may_label(request.user):
        raise PermissionDenied
    form = SheetForm(request.POST or None, request.FILES or None)
    brought = None
    if request.method == "POST" and form.is_valid():
        try:
            brought = _brought(request, sample, form.cleaned_data["file"])
        except ParseError as error:
            form.add_error("file", str(error))
    context = {
        **admin.site.each_context(request),
        "title": _("Bring labels in"),
        "opts": Sample._meta,
        "sample": sample,
        "form": form,
        "brought": brought,
    }
    return TemplateResponse(request, "admin/evaluation/sample/import.html", context)


def _brought(request: HttpRequest, sample: Sample, file: Any) -> label_sheets.Brought:
    with tempfile.NamedTemporaryFile(suffix=PurePath(file.name).suffix[:10]) as kept:
        for piece in file.chunks():
            kept.write(piece)
        kept.flush()
        for_all = request.user.has_perm("evaluation.add_sample")
        brought = label_sheets.bring(sample, Path(kept.name), file.name, request.user, for_all)
    said = ngettext("%(n)d label came in.", "%(n)d labels came in.", brought.labelled)
    messages.success(request, said % {"n": brought.labelled})
    return brought

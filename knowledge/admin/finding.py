"""Curators' pages about finding: try a question out, and see why a passage did not come."""

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST, require_safe

from knowledge import (
    arranging,
    confidence,
    curating,
    lexical,
    missed,
    permissions,
    retrieval,
    scope,
    synonyms,
    termlists,
    terms,
    uploading,
)
from knowledge.forms import quoted
from knowledge.models import Chunk, Document, KnowledgeBase
from knowledge.scope import Scope
from opsdesk.errors import Conflict

LONGEST = 2000  # characters of what is given
SUGGESTED = 20  # documents
PASSAGES = 300  # of a document to choose from
YEAR = timedelta(days=365)
TOP = (5, 10, 20, 50)
STAGES = {
    "parse": gettext_lazy("Reading"),
    "chunk": gettext_lazy("Cutting"),
    "filter": gettext_lazy("Filter"),
    "lexical": gettext_lazy("Words"),
    "dense": gettext_lazy("Meaning"),
    "sparse": gettext_lazy("Weighted words"),
    "learned": gettext_lazy("Learned"),
    "fusion": gettext_lazy("Fusion"),
    "rerank": gettext_lazy("Second look"),
    "cut": gettext_lazy("Cut"),
    "confidence": gettext_lazy("Confidence"),
    "choice": gettext_lazy("Answer or choice"),
}
VERDICTS = {
    "parse": gettext_lazy("Lost in reading: the text was not read from any original."),
    "chunk": gettext_lazy("Lost in cutting: it was read, but stands in no passage."),
    "filter": gettext_lazy("Left out: the passage may not answer."),
    "lexical": gettext_lazy("Not found by its words."),
    "dense": gettext_lazy("Found neither by its words nor by its meaning."),
    "fusion": gettext_lazy("Found, but pushed back when words and vectors were put together."),
    "rerank": gettext_lazy("Found, but pushed back by the second look."),
    "cut": gettext_lazy("Found, but others came first."),
    "confidence": gettext_lazy("Found, but not sure enough: a person was called."),
    "choice": gettext_lazy("Found, but others were as good: a choice was offered."),
    missed.ANSWERED: gettext_lazy("It did come: this passage is among those that answer."),
}
MODES = {
    retrieval.WORDS: gettext_lazy("words"),
    retrieval.HYBRID: gettext_lazy("words and vectors"),
    retrieval.DEGRADED: gettext_lazy("words only, the embedder failed"),
    retrieval.PARTLY_WORDS: gettext_lazy("words alone in some bases, their embedder failed"),
    retrieval.NO_RERANKER: gettext_lazy("without the reranker, which failed"),
}
VIEWS = {
    terms.WORDS: gettext_lazy("words"),
    terms.BIGRAMS: gettext_lazy("character pairs"),
    terms.UNIGRAMS: gettext_lazy("characters"),
    "terms": gettext_lazy("terms"),
}
TIMED = {
    "slips": gettext_lazy("slips"),
    "terms": gettext_lazy("terms"),
    "words": gettext_lazy("words"),
    "dense": gettext_lazy("meaning"),
    "beside": gettext_lazy("comparing"),
    "passages": gettext_lazy("passages"),
    "letters": gettext_lazy("letters"),
    "rerank": gettext_lazy("second look"),
    "arrange": gettext_lazy("arranging"),
    "learned": gettext_lazy("learned"),
}
FOUND = {  # what ordered the passages; the score of each is on a scale of its own
    "words": gettext_lazy("words"),
    "dense": gettext_lazy("meaning"),
    "sparse": gettext_lazy("weighted words"),
    "learned": gettext_lazy("learned"),
    "fused": gettext_lazy("together"),
    "rerank": gettext_lazy("second look"),
}
LEFT_OUT = {
    arranging.DUPLICATE: gettext_lazy("says what a better one says"),
    arranging.LONG: gettext_lazy("too long for what is left"),
}
FEATURES = {
    "strength": gettext_lazy("strength of the best passage"),
    "coverage": gettext_lazy("words found"),
    "names": gettext_lazy("names and codes found"),
    "length": gettext_lazy("length of the question"),
    "lead": gettext_lazy("lead over the next passage"),
    "small": gettext_lazy("small base"),
    "share": gettext_lazy("weight of what is shown"),
}


class ScopeForm(forms.Form):
    product = forms.CharField(label=gettext_lazy("product"), max_length=100, required=False)
    version = forms.CharField(label=gettext_lazy("product version"), max_length=100, required=False)
    environment = forms.CharField(label=gettext_lazy("environment"), max_length=100, required=False)
    tags = forms.CharField(
        label=gettext_lazy("tags"),
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": gettext_lazy("any of, with commas")}),
    )

    def scope(self) -> Scope:
        given = self.cleaned_data if self.is_valid() else {}
        tags = re.split(r"[,，;；、]", given.get("tags", ""))
        return Scope.of({**given, "tags": [tag.strip() for tag in tags]})


@require_safe
def try_view(request: HttpRequest, pk: int) -> HttpResponse:
    """What a question finds: each passage with its scores and ranks by stage."""
    base = base_for(request, pk, "view")
    question = _said(request, "q")
    form = ScopeForm(request.GET)
    wanted = request.GET.get("top", "")
    top = int(wanted) if wanted in map(str, TOP) else 10
    context = {
        **context_of(request, base, _("Try out: %(base)s") % {"base": base}),
        "question": question,
        "form": form,
        "top": top,
        "tops": TOP,
    }
    if question:
        found = retrieval.search(question, [base], max(top, confidence.PASSAGES), form.scope())
        context |= _found(found, top)
    return TemplateResponse(request, "admin/knowledge/knowledgebase/try.html", context)


def _found(found: retrieval.Retrieval, top: int) -> dict[str, Any]:
    asked = found.asked
    ids = [passage.chunk_id for passage in found.passages[:top]]
    parts = lexical.by_view(asked, ids) if asked and ids else {}
    groups = asked.groups if asked else ()
    said = [word for group in groups for word in (group.written, *group.others)]
    kept = {passage.chunk_id for passage in found.kept}
    rows = [
        {
            "passage": passage,
            "kept": passage.chunk_id in kept,
            "left_out": LEFT_OUT.get(found.left_out.get(passage.chunk_id, "")),
            "stages": _stages(found, passage, parts.get(passage.chunk_id, {})),
            "text": highlighted(passage.text, [*passage.hits, *said]),
            "question": highlighted(passage.question, [*passage.hits, *said]),
        }
        for passage in found.passages[:top]
    ]
    return {
        "found": found,
        "rows": rows,
        "mode": MODES[found.mode],
        "sure": found.sure,
        "features": [(FEATURES[name], value) for name, value in found.features.items()],
        "applied": groups,
        "timings": [(TIMED[stage], took) for stage, took in found.timings.items()],
    }


def _stages(
    found: retrieval.Retrieval, passage: retrieval.Passage, parts: dict[str, float]
) -> list[dict[str, Any]]:
    """What ordered it; where one stage alone did, the sum of stages says nothing more."""
    several = len(passage.scores) > 1
    return [
        {
            "name": FOUND[stage],
            "value": value,
            "place": place,
            "parts": [(VIEWS[view], part) for view, part in parts.items() if part]
            if stage == "words"
            else [],
        }
        for stage, place, value in found.stages_of(passage)
        if value is not None or (stage == "fused" and several)
    ]


def highlighted(text: str, words: Iterable[str]) -> SafeString:
    """`text` escaped, with `words` marked wherever they stand as whole words; single characters
    only if there is nothing longer."""
    telling = [word for word in words if word not in terms.question_words()]
    telling = [word for word in telling if len(word) > 1] or telling
    if not telling:
        return conditional_escape(text)
    letter = terms.LETTER
    patterns = [
        rf"(?<!{letter}){re.escape(word)}(?!{letter})" if word.isascii() else re.escape(word)
        for word in sorted(telling, key=len, reverse=True)
    ]
    parts = re.split(f"({'|'.join(patterns)})", text, flags=re.IGNORECASE)
    return mark_safe(  # noqa: S308 - every part is escaped
        "".join(
            format_html("<mark>{}</mark>", part) if at % 2 else conditional_escape(part)
            for at, part in enumerate(parts)
        )
    )


# --- why missed -------------------------------------------------------------------------


@require_safe
def missed_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Where a question lost the passage that should have come."""
    base = base_for(request, pk, "view")
    question = _said(request, "q")
    expected = _said(request, "expected")
    form = ScopeForm(request.GET)
    document, chunk, error = _target(base, request.GET, expected)
    context: dict[str, Any] = {
        **context_of(request, base, _("Why missed? %(base)s") % {"base": base}),
        "question": question,
        "expected": expected,
        "form": form,
        "visitor": request.GET.get("visitor", ""),
        "document": document,
        "document_search": _said(request, "document_q"),
        "error": error,
        "may_change": permissions.may(request.user, "change", base),
        "before": request.GET.get("before", "")[:6],
    }
    context |= _choices(base, document, context["document_search"])
    if question and not error and (chunk or expected):
        made = missed.diagnose(
            question,
            base,
            chunk=chunk,
            document=document,
            text=expected,
            within=form.scope(),
            visitor=bool(request.GET.get("visitor")),
        )
        context |= _diagnosis(made)
    return TemplateResponse(request, "admin/knowledge/knowledgebase/missed.html", context)


def _target(
    base: KnowledgeBase, given: Any, expected: str
) -> tuple[Document | None, Chunk | None, str]:
    """The document and the passage that were chosen, or what is wrong with the choice."""
    chunks = Chunk.objects.filter(knowledge_base=base).select_related("document__latest")
    document = chunk = None
    if (number := given.get("document", "")).isdecimal():
        document = base.documents.select_related("latest").filter(pk=number[:18]).first()
    named = missed.chunk_number(given.get("chunk", "") or expected)
    if named is not None:
        chunk = chunks.filter(pk=named).first()
        if chunk is None:
            return document, None, _("There is no passage %(n)d in this base.") % {"n": named}
    return (chunk.document if chunk else document), chunk, ""


def _choices(base: KnowledgeBase, document: Document | None, search: str) -> dict[str, Any]:
    """Documents whose title has the words, and the passages of the one that is chosen."""
    choices: dict[str, Any] = {}
    if search:
        found = base.documents.filter(title__icontains=search).order_by("title")
        choices["documents"] = found[:SUGGESTED]
    if document:
        chunks = document.chunks.order_by("position")
        choices["passages"] = chunks[:PASSAGES]
    return choices


def _diagnosis(made: missed.Diagnosis) -> dict[str, Any]:
    steps = [
        {"name": STAGES[stage], "stage": stage, "step": step, "facts": _facts(step)}
        for stage, step in missed.stages(made.steps)
    ]
    hits: list[str] = next(
        (s.facts.get("hits", []) for s in made.steps if s.stage == "lexical"), []
    )
    first = made.found.passages[:3] if made.found else []
    return {
        "made": made,
        "verdict": VERDICTS[made.verdict],
        "answered": made.verdict == missed.ANSWERED,
        "steps": steps,
        "text": highlighted(made.chunk.text, hits) if made.chunk else "",
        "first": [one for one in first if not made.chunk or one.chunk_id != made.chunk.pk],
        "lacking": made.missing[:8],
        "next_year": scope.today() + YEAR,
    }


def _facts(step: missed.Step | None) -> list[tuple[str, str]]:
    if step is None:
        return []
    facts = step.facts
    shown: list[tuple[str, str]] = [
        (str(FEATURES[name]), f"{facts[name]:.2f}") for name in FEATURES if name in facts
    ]
    if "bm25" in facts:
        shown.append(("BM25", f"{facts['bm25']:.2f}"))
    if "cosine" in facts:
        shown.append((_("cosine"), f"{facts['cosine']:.3f}"))
    if facts.get("mended"):
        read = ", ".join(f"{written} → {meant}" for written, meant in facts["mended"])
        shown.append((_("read otherwise"), read))
    if facts.get("raw") is not None:
        shown.append((_("raw value"), f"{facts['raw']:.3f}"))
    if facts.get("hits"):
        shown.append((_("words found"), " ".join(facts["hits"][:20])))
    if facts.get("missing"):
        shown.append((_("words missing"), " ".join(facts["missing"][:20])))
    return shown


# --- mending ----------------------------------------------------------------------------


@require_POST
def mend_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Do what would mend it, and ask again."""
    base = base_for(request, pk, "change")
    document, chunk, error = _target(base, request.POST, "")
    mend = MENDS.get(request.POST.get("mend", ""))
    if mend is None or document is None or error:
        messages.error(request, error or _("This passage is gone. Look for it again."))
    else:
        try:
            messages.success(request, mend(request, base, document, chunk))
        except ValidationError as refused:
            messages.error(request, " ".join(refused.messages))
        except Conflict as conflict:
            messages.error(request, str(conflict))
    names = ("q", "expected", "document", "chunk", "visitor", "before", *ScopeForm.base_fields)
    kept = {name: request.POST[name] for name in names if request.POST.get(name)}
    url = reverse("admin:knowledge_knowledgebase_missed", args=[base.pk])
    return redirect(f"{url}?{urlencode(kept)}")


Mend = Callable[[HttpRequest, KnowledgeBase, Document, Chunk | None], str]


def _add_question(
    request: HttpRequest, base: KnowledgeBase, document: Document, chunk: Chunk | None
) -> str:
    question = _said(request, "q")
    if chunk is None or not question:
        raise ValidationError(_("This passage is gone. Look for it again."))
    curating.edit(
        chunk.pk,
        text=chunk.text,
        question=chunk.question,
        questions=[*chunk.questions, question],
        heading_path=chunk.heading_path,
        user=request.user,  # type: ignore[arg-type]
    )
    return _("The question is attached to the passage.")


def _add_synonym(
    request: HttpRequest, base: KnowledgeBase, document: Document, chunk: Chunk | None
) -> str:
    word, means = _said(request, "word"), _said(request, "means")
    if len(word) > termlists.LONGEST or len(means) > termlists.LONGEST:
        message = _("“%(word)s” is longer than %(most)d characters.")
        raise ValidationError(message % {"word": quoted(max(word, means, key=len)), "most": 100})
    term = synonyms.add(base, word, means)
    return _("“%(word)s” counts as “%(term)s” now.") % {"word": word, "term": term}


def _enable(
    request: HttpRequest, base: KnowledgeBase, document: Document, chunk: Chunk | None
) -> str:
    chunks = Chunk.objects.filter(pk=chunk.pk if chunk else 0)
    curating.set_enabled(chunks, True, request.user)  # type: ignore[arg-type]
    return _("The passage is enabled.")


def _approve(
    request: HttpRequest, base: KnowledgeBase, document: Document, chunk: Chunk | None
) -> str:
    uploading.approve(_only(document), request.user)  # type: ignore[arg-type]
    return _("The document is approved.")


def _restore(
    request: HttpRequest, base: KnowledgeBase, document: Document, chunk: Chunk | None
) -> str:
    uploading.restore(_only(document))
    return _("The document answers again.")


def _extend(
    request: HttpRequest, base: KnowledgeBase, document: Document, chunk: Chunk | None
) -> str:
    until = forms.DateField(required=False).clean(request.POST.get("expires_on", ""))
    uploading.describe(_only(document), expires_on=until)
    return _("The expiry date is changed.")


def _retry(
    request: HttpRequest, base: KnowledgeBase, document: Document, chunk: Chunk | None
) -> str:
    if not uploading.retry(document):
        raise ValidationError(_("It is under way, or has no file kept."))
    queued = ngettext("%(n)d document queued.", "%(n)d documents queued.", 1)
    return queued % {"n": 1}


MENDS: dict[str, Mend] = {
    "question": _add_question,
    "synonym": _add_synonym,
    "enable": _enable,
    "approve": _approve,
    "restore": _restore,
    "extend": _extend,
    "retry": _retry,
}


def _only(document: Document) -> Any:
    return Document.objects.filter(pk=document.pk)


def _said(request: HttpRequest, name: str) -> str:
    given = request.POST if request.method == "POST" else request.GET
    return given.get(name, "").replace("\x00", "").strip()[:LONGEST]


def base_for(request: HttpRequest, pk: int, right: permissions.Right) -> KnowledgeBase:
    """404 if it is gone, 403 if the user lacks the right on it."""
    base = get_object_or_404(KnowledgeBase, pk=pk)
    if not permissions.may(request.user, right, base):
        raise PermissionDenied
    return base


def context_of(request: HttpRequest, base: KnowledgeBase, title: str) -> dict[str, Any]:
    return {
        **admin.site.each_context(request),
        "title": title,
        "opts": KnowledgeBase._meta,
        "base": base,
    }

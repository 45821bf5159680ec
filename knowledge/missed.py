"""Why a passage that should have come did not: where it was lost, with numbers, and what mends it.

A question goes through the same search as in the chat; the passage is followed beside it from
the file to the answer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from knowledge import arranging, dense, embedding, lexical, retrieval, scope, synonyms, terms
from knowledge.models import Chunk, Document, KnowledgeBase, Status
from knowledge.scope import EVERYTHING, Scope
from opsdesk.errors import ModelError

STAGES = (
    "parse", "chunk", "filter", "lexical", "dense", "sparse", "learned", "fusion", "rerank", "cut",
    "confidence", "choice",
)  # fmt: skip
ANSWERED = "answered"
PIECE = 6  # characters: the shortest piece of an expected text to look for
PIECES = 4
REVISIONS = 2000  # of a base whose originals are looked through without a document named
_FOLDED = r"regexp_replace(lower(normalize({}, NFKC)), '[\s|*#`>]+', '', 'g')"
# What goes on from rows with `folded`: those that hold a piece of an array, and its number.
# Folding is what costs: each row is folded once, for all pieces.
_HOLDING = f"""
    OFFSET 0) held CROSS JOIN LATERAL (
        SELECT min(number) AS first
        FROM unnest(ARRAY(SELECT {_FOLDED.format("given")} FROM unnest(%s::text[]) given))
            WITH ORDINALITY AS piece (said, number)
        WHERE said <> '' AND strpos(folded, said) > 0
    ) hit WHERE first IS NOT NULL ORDER BY first
"""  # noqa: S608
_ENDS = re.compile(r"[\n。！？!?；;|]+")
_LINK = re.compile(r"\s*(?:\S*/chunk/)?(\d{1,18})(?:/\S*)?\s*")


@dataclass
class Step:
    """One stage, and how the passage fared in it."""

    stage: str
    lost: bool
    text: str  # a sentence for a person
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Diagnosis:
    verdict: str  # the stage that lost it, or "answered"
    steps: list[Step]
    chunk: Chunk | None = None
    document: Document | None = None
    rank: int | None = None  # in the order that counts
    confidence: float = 0.0
    missing: list[str] = field(default_factory=list)  # words of the question, most telling first
    mends: list[str] = field(default_factory=list)  # names of what would help
    found: retrieval.Retrieval | None = field(default=None, repr=False)


def chunk_number(text: str) -> int | None:
    """The passage that `text` names by its number or by a link to it."""
    named = _LINK.fullmatch(text)
    return int(named[1]) if named else None


def diagnose(
    question: str,
    base: KnowledgeBase,
    *,
    chunk: Chunk | None = None,
    document: Document | None = None,
    text: str = "",
    within: Scope = EVERYTHING,
    visitor: bool = False,
) -> Diagnosis:
    """Where `question` lost the passage: `chunk`, or what holds the expected `text`, looked for
    in `document` if it is given. With `visitor` it is asked by someone who is not signed in."""
    chunk = chunk or locate(base, text, document)
    if chunk is None:
        return _without_chunk(base, text, document)
    made = Diagnosis(ANSWERED, [], chunk, chunk.document)
    made.steps = [
        Step("parse", False, _("The original was read.")),
        Step("chunk", False, _("It is passage %(n)d of its document.") % {"n": chunk.position + 1}),
    ]
    _filter(made, base, within, visitor)
    _search(made, question, base, within)
    made.verdict = next((step.stage for step in made.steps if step.lost), ANSWERED)
    if made.verdict == "lexical" and made.rank:  # the vectors found it all the same
        later = (step.stage for step in made.steps if step.lost and step.stage != "lexical")
        made.verdict = next(later, ANSWERED)
    if made.verdict in ("lexical", "dense", "fusion", "rerank", "cut", "confidence", "choice"):
        made.mends = ["question", "synonym"]
    return made


# --- looking for the expected text ------------------------------------------------------


def locate(base: KnowledgeBase, text: str, document: Document | None = None) -> Chunk | None:
    """The passage of a base that holds most of an expected text: its longest sentences."""
    if not (pieces := _pieces(text)):
        return None
    where, held = "knowledge_base_id = %s", base.pk
    if document:
        where, held = "document_id = %s", document.pk
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM (SELECT id, {_FOLDED.format('question || text')} AS folded"  # noqa: S608
            f" FROM knowledge_chunk WHERE {where} {_HOLDING}, id LIMIT 1",
            [held, pieces],
        )
        row = cursor.fetchone()
    return Chunk.objects.select_related("document__latest").get(pk=row[0]) if row else None


def _pieces(text: str) -> list[str]:
    """The whole of it first, then its longest sentences."""
    sentences = [part for part in map(str.strip, _ENDS.split(text)) if len(part) >= PIECE]
    whole = [text.strip()] if len(text.strip()) >= PIECE else []
    return whole + sorted(sentences, key=len, reverse=True)[:PIECES]


def _without_chunk(base: KnowledgeBase, text: str, document: Document | None) -> Diagnosis:
    """It stands in no passage: was it read?"""
    made = Diagnosis("parse", [], None, document)
    holding = _original(base, text, document)
    if holding:
        made.document, hidden = holding
        said = (
            _("It stands in a running header, a footer or a part that is left out of passages.")
            if hidden
            else _("It was read, but no passage holds it: a passage was edited, or it was cut.")
        )
        made.verdict = "chunk"
        made.steps = [
            Step("parse", False, _("It stands in the original of “%s”.") % made.document),
            Step("chunk", True, said),
        ]
        made.mends = ["open"]
        return made
    made.steps = [Step("parse", True, _unread(document))]
    latest = document.latest if document else None
    failed = latest is not None and latest.status == Status.FAILED
    made.mends = (
        ["retry", "open"] if failed and latest and latest.file else ["open"] * bool(document)
    )
    return made


def _unread(document: Document | None) -> str:
    if document is None:
        return _("It stands in no document of this knowledge base that was read.")
    latest = document.latest
    if latest is None or latest.status in (Status.QUEUED, Status.PROCESSING):
        return _("The document is still being read.")
    if latest.status == Status.FAILED:
        return _("The document could not be read: %s") % latest.error
    warnings = " ".join((latest.parsed or {}).get("warnings", []))
    said = _("It stands nowhere in what was read of the document.")
    return f"{said} {warnings}".strip()


def _original(
    base: KnowledgeBase, text: str, document: Document | None
) -> tuple[Document, bool] | None:
    """The document whose original has the text, and whether in a part that is left out."""
    if not (pieces := _pieces(text)):
        return None
    documents = Document.objects.filter(pk=document.pk) if document else base.documents.all()
    revisions = list(
        documents.exclude(current=None)
        .order_by("-pk")
        .values_list("current", flat=True)[:REVISIONS]
    )
    words = "block->>'text' || coalesce(block->>'rows', '')"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT document_id, hidden FROM (SELECT document_id,"  # noqa: S608
            f" (block->>'hidden')::boolean AS hidden, {_FOLDED.format(words)} AS folded"
            " FROM knowledge_revision, jsonb_array_elements(parsed->'blocks') block"
            f" WHERE id = ANY(%s) {_HOLDING}, hidden LIMIT 1",
            [revisions, pieces],
        )
        row = cursor.fetchone()
    return (Document.objects.get(pk=row[0]), row[1]) if row else None


# --- following the passage --------------------------------------------------------------


def _filter(made: Diagnosis, base: KnowledgeBase, within: Scope, visitor: bool) -> None:
    assert made.chunk and made.document  # noqa: S101
    reasons, document = [], made.document
    if visitor and base.audience != KnowledgeBase.Audience.VISITORS:
        reasons.append(_("Visitors may not read this knowledge base."))
    if not made.chunk.enabled:
        reasons.append(_("The passage is disabled."))
        made.mends.append("enable")
    if document.approved_at is None:
        reasons.append(_("Nobody has approved the document."))
        made.mends.append("approve")
    if document.retired_at:
        reasons.append(_("The document is retired: %s") % (document.retired_reason or "–"))
        made.mends.append("restore")
    if document.expires_on and document.expires_on <= scope.today():
        day = date_format(document.expires_on, "DATE_FORMAT")
        reasons.append(_("The document expired on %s.") % day)
        made.mends.append("extend")
    for name in within.differs(document):
        label = document._meta.get_field(name).verbose_name  # type: ignore[union-attr]
        value = getattr(document, name)
        shown = "、".join(value) if isinstance(value, list) else value
        reasons.append(
            _("It is out of scope: %(field)s is %(value)s.") % {"field": label, "value": shown}
        )
        made.mends.append("open")
    text = " ".join(reasons) or _("It may answer: enabled, approved, in force and in scope.")
    made.steps.append(Step("filter", bool(reasons), text))


def _search(made: Diagnosis, question: str, base: KnowledgeBase, within: Scope) -> None:
    assert made.chunk  # noqa: S101
    looked_at = max(settings.PASSAGES, settings.RERANK_PASSAGES)
    found = made.found = retrieval.search(question, [base], looked_at, within)
    made.confidence = found.confidence
    made.rank = _place(found, "ranked", made.chunk)
    by_words = _lexical(made, found, base, within)
    by_meaning = _dense(made, found.query, base, within)
    _more(made, found)
    if any(step.lost and step.stage == "filter" for step in made.steps):
        return  # no further: it cannot come, whatever its rank would be
    together = _place(found, "fused", made.chunk)
    ranks = [rank for rank in (by_words, by_meaning) if rank]
    if by_meaning:
        lost = together is None or (min(ranks) <= settings.PASSAGES < together)
        said = _("Words and vectors together put it in place %(n)s.") % {"n": together or "–"}
        made.steps.append(Step("fusion", lost, said, {"rank": together}))
    elif made.rank is None:
        return
    _reranked(made, found, together)
    _cut(made, found)


def _place(found: retrieval.Retrieval, stage: str, chunk: Chunk) -> int | None:
    """Its place, from 1, in what a stage brought."""
    order = found.order.get(stage, [])
    return order.index(chunk.pk) + 1 if chunk.pk in order else None


def _scores(found: retrieval.Retrieval, chunk: Chunk) -> dict[str, float]:
    return next((one.scores for one in found.passages if one.chunk_id == chunk.pk), {})


def _more(made: Diagnosis, found: retrieval.Retrieval) -> None:
    """What learned weights and the base's own learning say of it, where there are such."""
    assert made.chunk  # noqa: S101
    names = {"sparse": _("learned weights"), "learned": _("what this base learned")}
    for stage, name in names.items():
        if stage not in found.order:
            continue
        rank = _place(found, stage, made.chunk)
        said = (
            _("By %(name)s it is in place %(n)d.") % {"name": name, "n": rank}
            if rank
            else _("It is not among the first by %(name)s.") % {"name": name}
        )
        facts = {"rank": rank, "raw": _scores(found, made.chunk).get(stage)}
        made.steps.append(Step(stage, False, said, facts))


def _reranked(made: Diagnosis, found: retrieval.Retrieval, before: int | None) -> None:
    assert made.chunk  # noqa: S101
    if found.mode == retrieval.NO_RERANKER:
        said = _("The reranker failed, or took too long: the order stayed as it was.")
        made.steps.append(Step("rerank", False, said))
    if "rerank" not in found.order:
        return
    rank = _place(found, "rerank", made.chunk)
    pushed = before is not None and before <= settings.PASSAGES
    lost = bool(pushed and made.rank and made.rank > settings.PASSAGES)
    if rank:
        numbers = {"n": rank, "before": before, "now": made.rank}
        said = _("The second look puts it in place %(n)d: %(before)s before, %(now)s now.")
        said %= numbers
    else:
        said = _("It was not among those that were looked at again.")
    facts = {"rank": rank, "raw": _scores(found, made.chunk).get("rerank")}
    made.steps.append(Step("rerank", lost, said, facts))


def _cut(made: Diagnosis, found: retrieval.Retrieval) -> None:
    """Whether an answer is made of it, and if so whether there is one."""
    assert made.chunk  # noqa: S101
    kept = made.chunk.pk in {one.chunk_id for one in found.kept}
    numbers = {"rank": made.rank or "–", "kept": settings.PASSAGES}
    reason = found.left_out.get(made.chunk.pk)
    if kept:
        said = _("Place %(rank)s is among the first %(kept)s that are looked at.") % numbers
    elif reason == arranging.DUPLICATE:
        said = _("In place %(rank)s, but a better passage says the same.") % numbers
    elif reason == arranging.LONG:
        said = _("In place %(rank)s, but too long beside the better ones.") % numbers
    else:
        said = _("Place %(rank)s is behind the first %(kept)s that are looked at.") % numbers
    facts = {"rank": made.rank, "kept": settings.PASSAGES}
    made.steps.append(Step("cut", not kept, said, facts))
    if kept:
        _confident(made, found)


def _lexical(
    made: Diagnosis, found: retrieval.Retrieval, base: KnowledgeBase, within: Scope
) -> int | None:
    assert made.chunk  # noqa: S101
    asked, chunk = found.asked, made.chunk
    if asked is None:
        made.steps.append(Step("lexical", True, _("The question is empty.")))
        return None
    passage = retrieval.words_of(chunk)
    held = asked.understood(passage)
    worth = asked.words()
    ordered = sorted(worth, key=lambda word: (-worth[word], word))
    made.missing = [
        word for word in ordered if word not in held and word not in terms.question_words()
    ]
    rank = lexical.rank(asked, [base.pk], chunk.pk, within)
    facts = {
        "rank": rank,
        "bm25": lexical.scores(asked, [chunk.pk]).get(chunk.pk, 0.0),
        "hits": [word for word in ordered if word in held],
        "missing": made.missing,
        "mended": found.mended,
    }
    if rank is None:
        said = _("By words it is not found.")
    else:
        said = _("By words it is in place %(n)d.") % {"n": rank}
    made.steps.append(Step("lexical", rank is None or rank > retrieval.CANDIDATES, said, facts))
    return rank


def _dense(made: Diagnosis, question: str, base: KnowledgeBase, within: Scope) -> int | None:
    """Its place by meaning; None, and no step, where no vectors answer."""
    assert made.chunk  # noqa: S101
    index = next(iter(embedding.answering([base.pk])), None)
    if index is None:
        return None
    more = synonyms.read(question, [base.pk]).more
    try:
        place = dense.rank(index, f"{question} {more}".strip(), [base.pk], made.chunk.pk, within)
    except ModelError as error:
        made.steps.append(Step("dense", True, _("The embedder failed: %s") % error))
        return None
    if place is None:
        said = _("It has no vector yet: the worker makes it soon.")
        made.steps.append(Step("dense", True, said))
        return None
    rank, cosine = place
    said = _("By meaning it is in place %(n)d.") % {"n": rank}
    facts = {"rank": rank, "cosine": cosine}
    made.steps.append(Step("dense", rank > retrieval.CANDIDATES, said, facts))
    return rank


def _confident(made: Diagnosis, found: retrieval.Retrieval) -> None:
    assert found.asked  # noqa: S101
    facts = dict(found.features)
    numbers = {"sure": f"{found.confidence:.2f}", "least": f"{found.threshold:.2f}"}
    if found.near:
        said = _("Confidence %(sure)s is at least %(least)s: the base holds an answer.") % numbers
    else:
        said = _("Confidence %(sure)s is below %(least)s: the base may hold none.") % numbers
    made.steps.append(Step("confidence", not (found.near or found.sure), said, facts))
    if not (found.near or found.sure):
        return
    numbers = {"sure": f"{found.right:.2f}", "least": f"{found.least:.2f}"}
    if found.sure:
        said = _("That what is shown is right: %(sure)s, at least %(least)s: it answers.") % numbers
    else:
        said = _("That what is shown is right: %(sure)s, below %(least)s: others are as good, so "
                 "a choice is offered.") % numbers  # fmt: skip
    made.steps.append(Step("choice", not found.sure, said))


def stages(lost: Sequence[Step]) -> list[tuple[str, Step | None]]:
    """All stages in their order with what happened there; None where it did not come to."""
    reached = {step.stage: step for step in lost}
    return [(stage, reached.get(stage)) for stage in STAGES]

"""Third step: an answer out of the passages, or the finding that they hold none."""

import logging
import time
from functools import partial
from typing import Any

from django.utils.translation import gettext as _

from chat import (
    ambiguity,
    choosing,
    dangers,
    degrading,
    extractive,
    generating,
    judging,
    kinds,
    llms,
    misread,
    offering,
    unseen,
)
from chat.models import Turn
from chat.state import TurnState
from knowledge import arranging, terms
from knowledge.retrieval import Passage
from knowledge.scope import fold
from opsdesk.errors import ModelError
from opsdesk.tuning import tuned

logger = logging.getLogger(__name__)

MODEL, EXTRACTIVE, FALLBACK = "model", "extractive", "extractive-fallback"


def answer(turn: TurnState) -> TurnState:
    """Ends the turn with an answer and its sources, asks which of several is meant, or calls a
    person."""
    found = turn.retrieval
    assert found is not None  # noqa: S101
    if _asks_anew(turn):
        turn.asked = {}
    if _names_only_unseen(turn) or not (found.sure or found.near):
        return turn.call_person("no_answer")
    passages = found.passages if turn.picked else choosing.pinned(turn.query, found.passages)
    destroying = dangers.only_asked(turn.query, [passage.text for passage in passages])
    if destroying:
        turn.check("destroys", "missing", commands=destroying)
        return turn.call_person("no_answer")
    if not turn.asked and not turn.scope:
        several = ambiguity.ambiguity(turn.query, passages)
        if several and not turn.guesses:
            return _ask_which(turn, several)
        if several:
            turn.check("ambiguity", "guessed", about=several.about)
    chosen = turn.picked and turn.trace["completed"]  # for this very question
    kind = None if chosen else kinds.asked(turn.question) or kinds.asked(turn.query)
    if kind:
        worth = found.asked.words() if found.asked else {}
        passages = choosing.holding(turn.query, kind, passages, worth)
        turn.check("kind", "held" if passages else "missing", kind=kind.name)
        if not passages:
            return turn.call_person("no_answer")
    model = llms.model()
    # A model says itself when passages do not answer; what staff chose for a base holds for it too.
    if not found.sure and (model is None or found.calibrated):
        again = turn.asked or turn.attached  # to ask, or to ask a log back, leads nowhere
        places = [] if again else arranging.shown(passages)
        if len(places) > 1 and not turn.guesses:
            return _offer(turn, places)
        if len(places) > 1:
            turn.check("ambiguity", "guessed", about=offering.ABOUT)
        elif found.calibrated or not again:
            return turn.call_person("no_answer")
    if model is None:
        return _extract(turn, passages, kind, EXTRACTIVE)
    return _generate(turn, passages, kind, model)


def _offer(turn: TurnState, places: list[Passage]) -> TurnState:
    offering.offer(turn, _meant(turn), places)
    turn.text = _noted(turn, dangers.warned(turn.text))
    return turn


def _asks_anew(turn: TurnState) -> bool:
    """Whether a question stands where a choice was to be made, and little of it is of the one
    that was asked before."""
    if not turn.asked.get("choices") or turn.trace["query"] != turn.question:
        return False
    before, now = (
        terms.views(one)[terms.WORDS].keys() - terms.question_words()
        for one in (turn.asked["question"], turn.question)
    )
    return len(now) > 1 and len(now & before) * 2 <= len(now)


def _names_only_unseen(turn: TurnState) -> bool:
    """Whether all that the question names is unknown to the asked bases; notes what is."""
    assert turn.retrieval is not None  # noqa: S101
    missing, known = unseen.unseen(turn.query, [base.pk for base in turn.bases])
    groups = turn.retrieval.asked.groups if turn.retrieval.asked else ()
    otherwise = [fold(group.written) for group in groups]  # terms of the bases, other words for
    otherwise += [fold(base.name) for base in turn.bases]
    turn.unseen = [name for name in missing if not any(fold(name) in one for one in otherwise)]
    if turn.unseen:
        turn.check("unseen", "missing", names=turn.unseen, known=known)
    return bool(turn.unseen) and not known and len(turn.unseen) == len(missing)


def _ask_which(turn: TurnState, several: ambiguity.Ambiguity) -> TurnState:
    labels = [choice.label for choice in several.choices]
    turn.check("ambiguity", "asked", about=several.about, choices=labels)
    turn.pending = ambiguity.as_pending(turn.query, several)
    turn.options = [*labels, _("None of these")]
    texts = {
        "product": _("This differs from product to product. Which one is it about?"),
        "version": _("This differs from version to version. Which one is it about?"),
        "environment": _("This differs from environment to environment. Which one is it about?"),
        "topic": _("I know several things about this. Which one do you mean?"),
    }
    return turn.end(Turn.Outcome.CLARIFYING, texts[several.about])


def _generate(
    turn: TurnState, passages: list[Passage], kind: kinds.Kind | None, model: Any
) -> TurnState:
    begun = time.monotonic()
    read = arranging.together(passages)
    speaker = generating.Speaker(turn, read)
    say = (
        (lambda sentence: None) if tuned("JUDGE") else speaker.say
    )  # nothing is said before it is judged
    try:
        made = generating.generate(model, turn, read, say)
    except ModelError as error:
        if turn.cancelled():
            raise
        logger.warning("The model failed: %s", error)
        turn.trace["model_error"] = str(error)
        turn.degrade(degrading.EXTRACTIVE)
        return _extract(turn, passages, kind, FALLBACK)
    turn.mode = MODEL
    turn.trace["model"] = {
        "seconds": round(time.monotonic() - begun, 2),
        "dropped": made.dropped,
        "refused": made.refused,
    }
    if made.refused:
        return turn.call_person("no_answer")
    if tuned("JUDGE") and made.trusted:
        _judge(turn, made, read, model)
    verdict = "missing" if not made.trusted else "partly" if made.dropped else "held"
    turn.check("support", verdict, kept=len(made.kept), dropped=len(made.dropped))
    if made.destroys:
        turn.check("destroys", "missing")
    if not made.trusted:
        return turn.call_person("no_answer")
    if kind and kind.certain and not kind.held(made.text, turn.query):
        turn.check("kind", "not_written", kind=kind.name)
        return _extract(turn, passages, kind, FALLBACK)
    if tuned("JUDGE"):
        for sentence in made.kept:
            speaker.say(sentence)
    turn.sources = speaker.sources
    return _say(turn, speaker.text.strip())


def _judge(
    turn: TurnState, made: generating.Generated, passages: list[Passage], model: Any
) -> None:
    """Drop what a second look finds unsupported; without a verdict the answer stays as it is."""
    try:
        sentences = [generating.marked(sentence) for sentence in made.kept]
        made.drop(judging.unsupported(model, turn, sentences, passages))
    except ModelError as error:
        if turn.cancelled():
            raise
        logger.warning("The answer was not judged: %s", error)
        turn.check("judge", "failed", error=str(error))
        turn.degrade(degrading.NO_JUDGE)


def _extract(
    turn: TurnState, passages: list[Passage], kind: kinds.Kind | None, mode: str
) -> TurnState:
    meant = _meant(turn)
    wanted = partial(kind.held, question=turn.query) if kind else None
    extract = extractive.extract(meant, passages, wanted, turn.query)
    certain = kind and kind.certain
    if kind and certain and not choosing.holds(turn.query, kind, passages[0], extract.text):
        turn.check("kind", "not_shown", kind=kind.name)
        return turn.call_person("no_answer")
    small = turn.retrieval.features.get("small", 0.0) if turn.retrieval else 0.0
    akin = choosing.akin(arranging.shown(passages), small)
    extract = extractive.beneath(meant, extract, akin, wanted if certain else None)
    turn.mode, turn.sources = mode, extract.sources
    if mode == FALLBACK:
        turn.emit("afresh")  # what the model said before it failed is not gone on with
    turn.emit("citations", citations=extract.sources)
    turn.emit("delta", text=dangers.warned(extract.text))
    return _say(turn, extract.text)


def _meant(turn: TurnState) -> str:
    """What is looked for, with the other words that its terms have."""
    assert turn.retrieval is not None  # noqa: S101
    return " ".join([turn.sought, *turn.retrieval.other_words])


def _say(turn: TurnState, text: str) -> TurnState:
    """An answer that is not certain, or shows what destroys, comes with the offer of a person."""
    assert turn.retrieval is not None  # noqa: S101
    warned = dangers.warned(text)
    turn.options = offering.others(turn)
    if warned != text or turn.retrieval.confidence < (1 + turn.retrieval.threshold) / 2:
        turn.options.append(_("Talk to a person"))
    return turn.end(Turn.Outcome.ANSWERED, _noted(turn, warned))


def _noted(turn: TurnState, text: str) -> str:
    """`text` under what was picked and is gone, what was read otherwise than written, and what is
    named that nobody knows."""
    assert turn.retrieval is not None  # noqa: S101
    if turn.unseen:
        note = _("%(nothing)s This is what comes nearest:") % {"nothing": unseen.told(turn.unseen)}
        text = f"{note}\n\n{text}"
    return offering.noted(turn.gone, misread.noted(turn.retrieval.mended, text))

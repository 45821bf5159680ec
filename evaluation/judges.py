"""Automatic judges of sampled answers: does each sentence follow from the passages, does it say
again what was said, does a passage that was shown bear on the question?

A model judges where one is configured, words elsewhere; each answer once for each version of the
judge. What they say is shown beside how well it agrees with people, and never without.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.conf import settings
from django.db.models import Exists, OuterRef
from django.utils import timezone
from rapidfuzz import fuzz

from chat import generating, grounding, llms
from chat.llms import Messages
from chat.prompting import digest, prompt
from evaluation import estimating, labelling
from evaluation.estimating import Agreement, Estimate
from evaluation.labelling import Settled
from evaluation.models import Item, JudgedItem, PooledPassage, Sample
from knowledge.likeness import normal
from knowledge.masking import masked
from opsdesk.errors import ModelError

LEXICAL = "lexical 1"  # changes with what it says
PROMPTS = ("review.system", "review.user")
SECONDS = 45.0  # of one task: other short work gets its turn
WAIT = 60.0  # seconds that a model may take for one answer
ALIKE = 80.0  # of 100: a sentence as like as this to an earlier one says it again
SHORT = 6  # letters of a sentence that may come twice
FEWEST = 20  # judgements of people that agreement with them takes
NUMBERS = {"type": "array", "items": {"type": "integer"}}
SCHEMA = {
    "type": "object",
    "properties": {"unsupported": NUMBERS, "repeated": NUMBERS, "relevant": NUMBERS},
    "required": ["unsupported", "repeated", "relevant"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Answer:
    """What a judge reads."""

    question: str
    sentences: list[str]  # numbered from 1 as labels number them
    shown: dict[str, str]  # passages that the answerer was shown, by key
    cited: dict[int, str]  # by mark

    @property
    def passages(self) -> list[str]:
        """Those that were shown, then what else is cited."""
        return list(dict.fromkeys([*self.shown.values(), *self.cited.values()]))


@dataclass(frozen=True)
class Judgement:
    unsupported: frozenset[int]  # numbers of sentences
    repeated: frozenset[int]
    relevant: frozenset[str]  # keys of passages


def current() -> str:
    """The judge that is asked now, with its version."""
    model = llms.model() if settings.REVIEWS else None
    return f"{model.model} {digest(*PROMPTS)[:12]}" if model else LEXICAL


# --- judging ------------------------------------------------------------------------------


def by_words(answer: Answer) -> Judgement:
    """Facts word for word in a passage, and words in common, as answers are checked before they
    are shown (`chat.grounding`)."""
    unsupported, repeated = set(), set()
    for n, sentence in enumerate(answer.sentences, 1):
        marks = [answer.cited[mark] for mark in grounding.marks(sentence) if mark in answer.cited]
        sources = marks or answer.passages
        stands = any(grounding.supported(sentence, passage) for passage in sources)
        if not stands or grounding.ungrounded(sentence, sources, answer.question):
            unsupported.add(n)
        said = normal(grounding.without_marks(sentence))
        before = (normal(grounding.without_marks(one)) for one in answer.sentences[: n - 1])
        if len(said) > SHORT and any(fuzz.ratio(said, one) >= ALIKE for one in before):
            repeated.add(n)
    relevant = {
        key for key, text in answer.shown.items() if grounding.supported(answer.question, text)
    }
    return Judgement(frozenset(unsupported), frozenset(repeated), frozenset(relevant))


def by_model(answer: Answer, model: Any) -> Judgement:
    """One request. Raises ModelError."""
    said = model.structured(
        _messages(answer), SCHEMA, name="review", deadline=time.monotonic() + WAIT
    )
    keys = dict(enumerate(answer.shown, 1))
    numbers = set(range(1, len(answer.sentences) + 1))
    return Judgement(
        frozenset(numbers & set(said["unsupported"])),
        frozenset(numbers & set(said["repeated"]) - {1}),
        frozenset(keys[n] for n in said["relevant"] if n in keys),
    )


def _messages(answer: Answer) -> Messages:
    user = prompt("review.user").substitute(
        question=generating.data(masked(answer.question)),
        passages="\n".join(
            f'<段落 编号="{n}">\n{generating.data(masked(text))}\n</段落>'
            for n, text in enumerate(answer.passages, 1)
        ),
        sentences=_numbered(answer.sentences),
    )
    return [
        {"role": "system", "content": prompt("review.system").template},
        {"role": "user", "content": user},
    ]


def _numbered(sentences: Sequence[str]) -> str:
    plain = (masked(grounding.without_marks(one)).strip() for one in sentences)
    return "\n".join(f"{n}. {generating.data(one)}" for n, one in enumerate(plain, 1))


# --- in the background --------------------------------------------------------------------


def judge_waiting() -> int:
    """Task: judge answers of samples whose passages are known and that this judge has not seen;
    how many. What a model is asked is limited by day (OPSDESK_REVIEWS)."""
    model = llms.model() if settings.REVIEWS else None
    name = current()
    left = max(settings.REVIEWS - _asked_today(name), 0) if model else None
    until, done = time.monotonic() + SECONDS, 0
    seen = JudgedItem.objects.filter(item=OuterRef("pk"), judge=name)
    waiting = Item.objects.filter(
        ~Exists(seen), answered=True, pooled_at__isnull=False, turn__reply__isnull=False
    )
    for item in waiting.select_related("turn__message", "turn__reply").order_by("-sample")[:left]:
        if time.monotonic() > until:
            break
        answer = answer_of(item)
        try:
            made = by_model(answer, model) if model else by_words(answer)
        except ModelError as error:
            if not error.permanent:
                break  # the next time, when it may answer again
            made = by_words(answer)
        _keep(item, name, answer, made)
        done += 1
    return done


def _asked_today(name: str) -> int:
    day = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    return JudgedItem.objects.filter(judge=name, at__gte=day).count()


def _keep(item: Item, name: str, answer: Answer, made: Judgement) -> None:
    numbers = range(1, len(answer.sentences) + 1)
    sentences = [
        {"n": n, "supported": n not in made.unsupported, "again": n in made.repeated}
        for n in numbers
    ]
    relevant = {key: key in made.relevant for key in answer.shown}
    held = {"sentences": sentences, "relevant": relevant}
    JudgedItem.objects.update_or_create(item=item, judge=name, defaults=held)


def answer_of(item: Item) -> Answer:
    turn = item.turn
    assert turn  # noqa: S101 - only items with an answer are judged
    assert turn.reply  # noqa: S101
    shown = PooledPassage.objects.filter(item=item, rank__isnull=False).order_by("rank")
    return Answer(
        question=turn.trace.get("query") or turn.message.text,
        sentences=labelling.sentences_of(turn.reply.text),
        shown=dict(shown.values_list("key", "text")),
        cited=dict(turn.reply.citations.values_list("n", "quote")),
    )


# --- beside people ------------------------------------------------------------------------


@dataclass(frozen=True)
class Checked:
    """A figure of a judge over the sample, and how well it agrees with people where they said
    the same thing of the same part of an answer."""

    estimate: Estimate
    agreement: Agreement

    @property
    def enough(self) -> bool:
        """Whether people said so much that the figure may be shown."""
        return self.agreement.n >= FEWEST


@dataclass(frozen=True)
class Judged:
    judge: str
    items: int
    waiting: int
    faithfulness: Checked  # share of sentences supported
    relevance: Checked  # share of passages shown that bear on the question
    redundancy: Checked  # share of sentences that say again what was said


Parts = list[tuple[int, int]]  # of an item: so many of so many


def of(sample: Sample, settled: Sequence[Settled] | None = None) -> Judged:
    """What the current judge holds of a sample; words, where it has seen nothing yet."""
    rows = labelling.settled(sample) if settled is None else settled
    name = current()
    judged = {
        one.item_id: one for one in JudgedItem.objects.filter(item__sample=sample, judge=name)
    }
    people = {one.item: one for one in rows}
    # People say of sentences in `Label.sentences` whether they say again what was said.
    repeated = labelling.repeated(sample)
    checked = {
        "faithfulness": _checked(
            sample, rows, judged,
            lambda one: {part["n"]: part["supported"] for part in one.sentences},
            lambda item: people[item].sentences,
        ),
        "relevance": _checked(
            sample, rows, judged,
            lambda one: one.relevant,
            lambda item: {key: key in people[item].relevant for key in people[item].pool},
        ),
        "redundancy": _checked(
            sample, rows, judged,
            lambda one: {part["n"]: part["again"] for part in one.sentences},
            lambda item: repeated.get(item, {}),
        ),
    }  # fmt: skip
    answers = sum(one.answered and bool(one.turn) for one in rows)
    return Judged(name, len(judged), answers - len(judged), **checked)


def _checked(
    sample: Sample,
    rows: Sequence[Settled],
    judged: dict[int, JudgedItem],
    said: Callable[[JudgedItem], dict[Any, bool]],
    held: Callable[[int], dict[Any, bool]],
) -> Checked:
    strata = list(sample.strata.order_by("pk").values_list("pk", "population"))
    places = {pk: place for place, (pk, _population) in enumerate(strata)}
    seen = [(one, said(judged[one.item])) for one in rows if one.item in judged]
    estimate = estimating.pooled(
        np.array([float(sum(parts.values())) for _one, parts in seen]),
        np.array([float(len(parts)) for _one, parts in seen]),
        np.array([places[one.stratum] for one, _parts in seen], np.int64),
        np.array([float(population) for _pk, population in strata]),
        sample.seed,
    )
    pairs = [
        (yes, held(one.item)[part])
        for one, parts in seen
        for part, yes in parts.items()
        if part in held(one.item)
    ]
    return Checked(estimate, estimating.agreement(pairs))

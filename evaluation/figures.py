"""The figures of a sample: what its labels tell of the traffic that it was drawn from.

What is reckoned from is a `Sheet` of plain values, so that a certificate can carry it and anybody
can reckon again.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from django.core.cache import cache
from django.db.models import Count, Max, Q
from django.utils.translation import gettext_lazy as _
from numpy.typing import NDArray

from chat.models import Citation, Conversation, Turn
from evaluation import estimating, labelling, source
from evaluation.estimating import Agreement, Estimate, Numbers
from evaluation.labelling import Settled
from evaluation.models import Label, PooledPassage, Sample, Verdict
from evaluation.sampling import BANDS
from knowledge.models import KnowledgeBase

Kind = Verdict.Kind
KINDS = (Kind.RIGHT, Kind.PARTLY, Kind.WRONG, Kind.UNANSWERABLE, Kind.REFUSED, Kind.MISSED)
OF_ANSWERS, OF_REFUSALS = KINDS[:4], KINDS[4:]
LATEST = 20  # samples that are looked at for one that has labels
FEWEST = 30  # labels of one that speaks for all traffic
DAY = 86_400  # seconds that figures are kept while no label is added
PROMPT = 12  # letters of a prompt's digest
# By what figures are told apart.
AXES = {
    "base": _("knowledge base"),
    "channel": _("channel"),
    "topic": _("topic"),
    "document": _("document cited"),
    "model": _("model"),
    "prompt": _("prompt version"),
    "configuration": _("configuration"),
    "stratum": _("stratum"),
}


@dataclass(frozen=True)
class Row:
    """What an item comes to. `kind` is "" while it is not settled; `open`: raters differ and nobody
    decided, or it cannot be labelled any more, being `gone`. None of `found` and `relevant`: not
    judged."""

    stratum: int  # place among the populations
    answered: bool
    kind: str = ""
    said: tuple[str, ...] = ()  # by raters blind to each other
    open: bool = False
    found: int | None = None  # relevant passages that were shown
    relevant: int | None = None  # in the pool
    open_pool: bool = False
    supported: int = 0  # sentences
    sentences: int = 0
    open_sentences: int = 0  # in dispute, beside these
    gone: bool = False  # its conversation was deleted: nobody can decide


@dataclass(frozen=True)
class Sheet:
    rows: tuple[Row, ...]
    populations: tuple[int, ...]
    raters: int
    seed: int
    # Whether the strata part answers from refusals: then the rate of refusals is known.
    parted: bool = False
    handed: tuple[bool, ...] = ()  # of parted strata, which are of refusals

    def to_json(self) -> dict[str, Any]:
        rows = [[*asdict(row).values()] for row in self.rows]
        return {**asdict(self), "rows": rows, "columns": list(Row.__dataclass_fields__)}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Sheet":
        """Out of what `to_json` made."""
        read = [dict(zip(given["columns"], values, strict=True)) for values in given["rows"]]
        rows = tuple(Row(**{**one, "said": tuple(one["said"])}) for one in read)
        rest = {name: given[name] for name in ("raters", "seed", "parted")}
        handed = tuple(given.get("handed", ()))  # certificates of before have none
        return cls(rows, tuple(given["populations"]), **rest, handed=handed)


@dataclass(frozen=True)
class Figures:
    """Shares of 0–1 with their intervals; `recall` is at the sample's k."""

    accuracy: Estimate
    recall: Estimate
    refusal_precision: Estimate
    refusal_recall: Estimate
    handoff_rate: Estimate
    faithfulness: Estimate  # sentences that people found supported
    agreement: Agreement  # of raters, κ
    items: int
    settled: int
    disputed: int
    corrected: bool  # for raters' errors


# --- reckoning ----------------------------------------------------------------------------


def reckon(sheet: Sheet, chosen: NDArray[np.bool_] | None = None) -> Figures:
    """The figures of a sheet; of the `chosen` rows alone where they are given, which stand for as
    much traffic as they do in the whole."""
    return _Reckoning(sheet, chosen).figures()


class _Reckoning:
    def __init__(self, sheet: Sheet, chosen: NDArray[np.bool_] | None) -> None:
        self.sheet, rows = sheet, sheet.rows
        self.chosen = np.ones(len(rows), bool) if chosen is None else chosen
        self.populations = np.array(sheet.populations, float)
        self.strata = self._of(lambda row: row.stratum).astype(np.int64)
        self.labelled = self._of(lambda row: bool(row.kind)).astype(bool)
        self.answered = self._of(lambda row: row.answered) * self.chosen
        self.refused = self._of(lambda row: not row.answered) * self.chosen
        self.open = self._of(lambda row: row.open).astype(bool)

    def _of(self, value: Callable[[Row], float]) -> Numbers:
        return np.array([value(row) for row in self.sheet.rows], float)

    @cached_property
    def kinds(self) -> tuple[dict[str, Numbers], bool]:
        """How much each row is of a kind, 0 where it is not settled, and whether raters' errors
        were corrected."""
        rows = [row for row in self.sheet.rows if row.kind]
        said = [[KINDS.index(Kind(one)) for one in row.said or (row.kind,)] for row in rows]
        final = [KINDS.index(Kind(row.kind)) for row in rows]
        made, corrected = estimating.corrected(said, final, len(KINDS))
        held = np.zeros((len(self.sheet.rows), len(KINDS)))
        held[self.labelled] = made
        return {
            kind.value: held[:, place] * self.chosen for place, kind in enumerate(KINDS)
        }, corrected

    def figures(self) -> Figures:
        kinds, corrected = self.kinds
        refusals = kinds[Kind.REFUSED] + kinds[Kind.UNANSWERABLE]
        rows = [row for row, wanted in zip(self.sheet.rows, self.chosen, strict=True) if wanted]
        return Figures(
            accuracy=self._share(kinds[Kind.RIGHT], self.answered),
            recall=self._recall(),
            refusal_precision=self._share(kinds[Kind.REFUSED], self.refused),
            refusal_recall=self._share(
                kinds[Kind.REFUSED], refusals, self.chosen.astype(float)
            ),
            handoff_rate=self._handoffs(),
            faithfulness=self._faithfulness(),
            agreement=agreement(rows),
            items=len(rows),
            settled=sum(bool(row.kind) for row in rows),
            disputed=sum((row.open or row.open_pool) and not row.gone for row in rows),
            corrected=corrected,
        )  # fmt: skip

    def _share(self, part: Numbers, whole: Numbers, domain: Numbers | None = None) -> Estimate:
        """Of settled rows; `domain` is what open ones might belong to."""
        some = self.labelled
        made = estimating.share(part[some], whole[some], self.strata[some], self.populations)
        return self._less_sure(made, whole, whole if domain is None else domain, some, self.open)

    def _less_sure(
        self,
        made: Estimate,
        whole: Numbers,
        domain: Numbers,
        settled: NDArray[np.bool_],
        open_: NDArray[np.bool_],
    ) -> Estimate:
        """As sure as can be while rows are disputed, and strata have not a single label."""
        known = settled | open_
        counts = np.bincount(self.strata[known], minlength=len(self.populations))
        drawn = np.bincount(self.strata, minlength=len(self.populations))
        # Of a stratum without labels all its rows stand for it, and none of them is known.
        weights = self.populations / np.maximum(np.where(counts, counts, drawn), 1)
        missing = (open_ & ~settled) | (counts[self.strata] == 0)
        unknown = float((weights[self.strata] * domain)[missing].sum())
        unknown += float(self.populations[drawn == 0].sum())  # might belong to any domain
        held = float((weights[self.strata] * whole)[settled].sum())
        if made.value is None or unknown <= estimating.SETTLED:
            return made
        return made.without(unknown / (unknown + held))

    def _recall(self) -> Estimate:
        judged = self._of(lambda row: row.relevant is not None).astype(bool)
        found = self._of(lambda row: row.found or 0) * self.chosen
        relevant = self._of(lambda row: row.relevant or 0) * self.chosen
        made = estimating.pooled(
            found[judged], relevant[judged], self.strata[judged], self.populations, self.sheet.seed
        )
        open_ = self._of(lambda row: row.open_pool or (row.open and row.relevant is None))
        every = self.chosen.astype(float)
        return self._less_sure(made, every, every, judged, open_.astype(bool))

    def _faithfulness(self) -> Estimate:
        whole = self._of(lambda row: len(row.said) >= self.sheet.raters)
        said = self._of(lambda row: row.sentences + row.open_sentences > 0 or not row.answered)
        some = (whole * said).astype(bool)  # refusals too: they are drawn and have no sentences
        supported, sentences, open_ = (
            self._of(lambda row, name=name: getattr(row, name)) * self.chosen  # type: ignore[misc]
            for name in ("supported", "sentences", "open_sentences")
        )
        made = estimating.pooled(
            supported[some], sentences[some], self.strata[some], self.populations, self.sheet.seed
        )
        counts = np.bincount(self.strata[some], minlength=len(self.populations))
        weights = (self.populations / np.maximum(counts, 1))[self.strata]
        unknown, held = (float((weights * one)[some].sum()) for one in (open_, sentences))
        if unknown and held:
            made = made.without(unknown / (unknown + held))
        return self._less_sure(made, self.answered, self.answered, some, self.open)

    def _handoffs(self) -> Estimate:
        """No label is needed: what became of a turn is known."""
        if len(self.sheet.rows) and self.sheet.parted and self.chosen.all():
            handed = np.zeros(len(self.populations), bool)
            handed[self.strata] = self.refused.astype(bool)
            if self.sheet.handed:
                handed = np.array(self.sheet.handed, bool)
            total, part = self.populations.sum(), float(self.populations[handed].sum())
            value = part / float(total) if total else None
            if value is not None:
                return Estimate(value, value, value, int(total), float(total), "all")
        every = self.chosen.astype(float)
        made = estimating.share(self.refused, every, self.strata, self.populations)
        none = np.zeros(len(every), bool)
        return self._less_sure(made, every, every, ~none, none)


def disputes(sheet: Sheet) -> dict[str, int]:
    """By figure that has a goal how many of its items somebody can still decide."""
    rows = [row for row in sheet.rows if not row.gone]
    return {
        "accuracy": sum(row.open and row.answered for row in rows),
        "recall": sum(row.open_pool for row in rows),
    }


def agreement(rows: Iterable[Row]) -> Agreement:
    """κ of the blind verdicts; raters come in any order, so each pair counts in both halfway."""
    pairs = [row.said for row in rows if len(row.said) == 2]
    return estimating.agreement([(one, other) for one, other in pairs])


# --- of a sample --------------------------------------------------------------------------


def of(sample: Sample) -> Figures:
    """Kept until another label is added, a conversation goes, or the code is another."""
    stamp = Label.objects.filter(item__sample=sample).aggregate(n=Count("pk"), at=Max("done_at"))
    items = sample.items.aggregate(Max("pooled_at"), Count("kind"), Count("turn"))
    told = [sample.pk, *stamp.values(), *items.values(), source.code()]
    key = f"figures:{':'.join(map(str, told))}".replace(" ", "_")
    made: Figures | None = cache.get(key)
    if made is None:
        made = reckon(sheet(sample))
        cache.set(key, made, DAY)
    return made


def sheet(sample: Sample, settled: Sequence[Settled] | None = None) -> Sheet:
    strata = list(sample.strata.order_by("pk"))
    places = {stratum.pk: place for place, stratum in enumerate(strata)}
    pooled = set(
        PooledPassage.objects.filter(item__sample=sample).values_list("item", flat=True).distinct()
    )
    rows = labelling.settled(sample) if settled is None else settled
    outcomes = [stratum.key.get("outcome") for stratum in strata]
    parted = bool(outcomes) and all(outcomes)
    return Sheet(
        rows=tuple(_row(one, places[one.stratum], one.item in pooled, sample) for one in rows),
        populations=tuple(stratum.population for stratum in strata),
        raters=sample.raters,
        seed=sample.seed,
        parted=parted,
        handed=tuple(one != Turn.Outcome.ANSWERED for one in outcomes) if parted else (),
    )


def _row(one: Settled, stratum: int, has_pool: bool, sample: Sample) -> Row:
    whole = len(one.independent) >= sample.raters
    judged = whole and (bool(one.pool) or not has_pool)
    supported = list(one.sentences.values()) if whole else []
    return Row(
        stratum=stratum,
        answered=one.answered,
        kind=one.kind or "",
        said=tuple(one.independent[rater] for rater in sorted(one.independent)),
        open=one.kind is None and (whole or not one.turn),
        found=len(one.relevant & set(one.shown)) if judged else None,
        relevant=len(one.relevant) if judged else None,
        open_pool=whole and not judged,
        supported=sum(supported),
        sentences=len(supported),
        open_sentences=one.open_sentences if whole else 0,
        gone=not one.turn,
    )


def latest() -> dict[str, Any]:
    """The accuracy and recall of the last sample that speaks for all traffic, and the sample."""
    kinds = Count("items", filter=Q(items__kind__isnull=False))
    samples = Sample.objects.annotate(settled=kinds).filter(settled__gte=FEWEST)
    for sample in samples.order_by("-drawn_at")[:LATEST]:
        if not narrowed(sample):
            made = of(sample)
            return {"accuracy": made.accuracy, "recall": made.recall, "sample": sample}
    return {"accuracy": None, "recall": None, "sample": None}


def narrowed(sample: Sample) -> bool:
    """Whether it speaks for a part of the traffic alone."""
    parts = ("bases", "channels", "outcomes", "bands", "configuration")
    return any(sample.frame.get(name) for name in parts)


# --- told apart ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """The items that have a value of an axis in common."""

    label: str
    figures: Figures


def by(sample: Sample, axis: str, settled: Sequence[Settled] | None = None) -> list[Part]:
    """The figures told apart by one of `AXES`, those with the most items first."""
    rows = labelling.settled(sample) if settled is None else settled
    whole = sheet(sample, rows)
    values = _values(sample, axis)
    members: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(rows):
        for value in values.get(one.item, ()):
            members[value].append(place)
    parts = []
    for label, places in members.items():
        chosen = np.zeros(len(rows), bool)
        chosen[places] = True
        parts.append(Part(label, reckon(whole, chosen)))
    return sorted(parts, key=lambda part: (-part.figures.items, part.label))


def _values(sample: Sample, axis: str) -> dict[int, list[str]]:
    """By item what it has on an axis; of documents there may be several."""
    items = sample.items.order_by("position")
    if axis == "document":
        cited: dict[int, list[str]] = defaultdict(list)
        rows = Citation.objects.filter(message__replied_turn__sampled__sample=sample)
        rows = rows.exclude(title="")
        for item, title in rows.values_list("message__replied_turn__sampled", "title").distinct():
            cited[item].append(title)
        return cited
    columns: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "base": ("turn__trace__sureness__base", _base_names()),
        "channel": ("turn__conversation__channel", Conversation.Channel),
        "topic": ("turn__trace__topic", str),
        "model": ("turn__trace__prompts", lambda given: _asked(given, "model")),
        "prompt": ("turn__trace__prompts", lambda given: _asked(given, "sha256")[:PROMPT]),
        "configuration": ("turn__trace__configuration__name", str),
        "stratum": ("stratum__key", stratum_names()),
    }
    column, read = columns[axis]
    return {
        item: [name]
        for item, value in items.values_list("pk", column)
        if value and (name := _said(read(value)))
    }


def _said(value: Any) -> str:
    return str(getattr(value, "label", value))


def _base_names() -> Callable[[Any], str]:
    names: dict[int, str] = dict(KnowledgeBase.objects.values_list("pk", "name"))
    return lambda pk: names.get(pk, "")


def _asked(given: Any, name: str) -> str:
    """Of the request by which a model answered."""
    asked: list[dict[str, Any]] = given
    answering = [one for one in asked if str(one.get("prompt", "")).startswith("answer")]
    return str(answering[0].get(name, "")) if answering else ""


def stratum_names(bases: Callable[[Any], str] | None = None) -> Callable[[Mapping[str, Any]], str]:
    """How strata are called by their keys; `bases` names knowledge bases by id."""
    bases = bases or _base_names()
    read: dict[str, Callable[[Any], Any]] = {
        "base": bases,
        "channel": Conversation.Channel,
        "outcome": Turn.Outcome,
        "band": lambda band: f"{band / BANDS:.2f}–{(band + 1) / BANDS:.2f}",
    }
    return lambda key: " · ".join(
        _said(read[axis](value)) for axis, value in key.items() if value is not None
    )

"""What raters say of the items of a sample, and what is settled by it.

Two raters label an item without seeing each other. Where they agree it is settled, elsewhere a
third decides; only settled items count. Verdict, sentences and passages are settled each by
itself: a quarrel about a passage does not hold up the verdict.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.models import Turn
from chat.statements import whole_sentences
from evaluation import claiming
from evaluation.models import Item, Label, PooledPassage, Relevance, Sample, Verdict
from evaluation.verdicts import KINDS, NOTE
from opsdesk.errors import Conflict

LONGEST = 3600  # seconds that one item counts at most
# Of an answer that was right, what it cites is what answers: so much needs no key.
GROUNDED = (Verdict.Kind.RIGHT, Verdict.Kind.PARTLY)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Settled:
    """An item with all that is held of it now."""

    item: int
    turn: int  # 0: its conversation is gone
    stratum: int
    answered: bool  # else a person was called
    kind: str | None  # agreed on, adjudicated, or the only rater's; None: not settled
    independent: dict[int, str]  # what raters said before anyone decided
    sentences: dict[int, bool]  # by number from 1: supported; without those in dispute
    open_sentences: int  # in dispute
    pool: frozenset[str]  # keys of judged passages; empty while one is in dispute
    relevant: frozenset[str]
    shown: tuple[str, ...]  # to the answerer, in order, at most the sample's k


@dataclass(frozen=True)
class Said:
    """A rater's label as the settling sees it."""

    rater: int
    adjudicates: bool
    kind: str
    note: str
    sentences: dict[int, bool]
    relevant: dict[str, bool]


def sentences_of(text: str) -> list[str]:
    """The sentences of an answer in their order, each with its marks; labels number them from 1."""
    return [one.strip() for one in whole_sentences([text]) if one.strip()]


def kinds(item: Item) -> tuple[Verdict.Kind, ...]:
    """What can be said of it."""
    return KINDS[Turn.Outcome.ANSWERED if item.answered else Turn.Outcome.HANDOFF]


# --- settling ---------------------------------------------------------------------------


def settled(sample: Sample) -> list[Settled]:
    """All items of a sample, in a few queries."""
    items = list(sample.items.order_by("position"))
    said = _said(Label.objects.filter(item__sample=sample))
    pools: dict[int, list[tuple[str, int | None]]] = defaultdict(list)
    passages = PooledPassage.objects.filter(item__sample=sample).order_by("rank", "pk")
    for item, key, rank in passages.values_list("item", "key", "rank"):
        pools[item].append((key, rank))
    return [settle(item, said.get(item.pk, []), pools[item.pk], sample) for item in items]


def settle(
    item: Item, said: Iterable[Said], pool: Iterable[tuple[str, int | None]], sample: Sample
) -> Settled:
    blind, decided = _parted(said)
    whole = len(blind) >= sample.raters
    sentences, relevant = (
        _each(
            [getattr(one, part) for one in blind] if whole else [],
            getattr(decided, part) if decided else {},
        )
        for part in ("sentences", "relevant")
    )
    quarrel = None in relevant.values()
    return Settled(
        item=item.pk,
        turn=item.turn_id or 0,
        stratum=item.stratum_id,
        answered=item.answered,
        kind=decided.kind if decided else _one([one.kind for one in blind]) if whole else None,
        independent={one.rater: one.kind for one in blind},
        sentences={n: held for n, held in sentences.items() if held is not None},
        open_sentences=list(sentences.values()).count(None),
        pool=frozenset() if quarrel else frozenset(relevant),
        relevant=frozenset() if quarrel else frozenset(key for key, yes in relevant.items() if yes),
        shown=tuple(key for key, rank in pool if rank and rank <= sample.k),
    )


def _parted(said: Iterable[Said]) -> tuple[list[Said], Said | None]:
    given = list(said)
    blind = [one for one in given if not one.adjudicates]
    return blind, next((one for one in given if one.adjudicates), None)


def _each(blind: list[dict[Any, bool]], decided: Mapping[Any, bool]) -> dict[Any, bool | None]:
    """What holds of each sentence or passage; None where raters differ and nobody decided. One
    that only a later rater found is judged by them alone."""
    parts = dict.fromkeys(part for one in blind for part in one) | dict.fromkeys(decided)
    return {
        part: decided[part]
        if part in decided
        else _one([one[part] for one in blind if part in one])
        for part in parts
    }


def _one(values: list[Value]) -> Value | None:
    """What all of them are."""
    return values[0] if values and all(value == values[0] for value in values) else None


def _said(labels: Any) -> dict[int, list[Said]]:
    """By item, from two queries: labels that are done, with what each says of passages."""
    marks: dict[tuple[int, int, bool], dict[str, bool]] = defaultdict(dict)
    judged = Relevance.objects.filter(passage__item__in=labels.values("item"))
    for item, rater, adjudicates, key, relevant in judged.values_list(
        "passage__item", "rater", "adjudicates", "passage__key", "relevant"
    ):
        marks[item, rater, adjudicates][key] = relevant
    said: dict[int, list[Said]] = defaultdict(list)
    for one in labels.filter(done_at__isnull=False).order_by("done_at", "pk"):
        said[one.item_id].append(
            Said(
                one.rater_id,
                one.adjudicates,
                one.kind,
                one.note,
                {part["n"]: part["supported"] for part in one.sentences},
                marks[one.item_id, one.rater_id, one.adjudicates],
            )
        )
    return said


def repeated(sample: Sample) -> dict[int, dict[int, bool]]:
    """By item which sentences say again what was said, as far as raters agree: nobody decides it,
    and no verdict waits for it."""
    rows = Label.objects.done().filter(item__sample=sample, adjudicates=False)
    said: dict[int, list[dict[int, bool]]] = defaultdict(list)
    for item, sentences in rows.values_list("item", "sentences"):
        said[item].append({part["n"]: "again" in part for part in sentences})
    return {
        item: {n: yes for n, yes in _each(each, {}).items() if yes is not None}
        for item, each in said.items()
        if len(each) >= sample.raters
    }


def disputes(said: Iterable[Said], raters: int) -> tuple[bool, list[int], list[str]]:
    """Whether the verdict is in dispute, and the numbers of sentences and keys of passages."""
    blind, decided = _parted(said)
    if decided or len(blind) < raters:
        return False, [], []
    sentences = _each([one.sentences for one in blind], {})
    relevant = _each([one.relevant for one in blind], {})
    return (
        _one([one.kind for one in blind]) is None,
        [n for n, held in sentences.items() if held is None],
        [key for key, held in relevant.items() if held is None],
    )


def said_of(item: Item) -> list[Said]:
    """The labels of an item that are done."""
    return _said(Label.objects.filter(item=item))[item.pk]


def _resettle(item: Item, user: Any) -> None:
    """Keep what is settled of a locked item, on it and as the verdict on its turn."""
    said = said_of(item)
    now = settle(item, said, [], item.sample)
    verdict, sentences, passages = disputes(said, item.sample.raters)
    item.kind, item.disputed = now.kind, bool(verdict or sentences or passages)
    item.save(update_fields=["kind", "disputed"])
    if item.turn_id is None:
        return
    if item.kind is None:
        Verdict.objects.filter(item=item).delete()
        return
    note = next((one.note for one in reversed(said) if one.note), "")
    kept = {"kind": item.kind, "note": note, "by": user, "item": item}
    Verdict.objects.update_or_create(turn_id=item.turn_id, defaults=kept)


# --- labelling ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """What a page or a sheet says of an item. Of passages without `relevant` all are as usual;
    else those that it leaves out were not seen, and nothing is said of them."""

    kind: str = ""
    note: str = ""
    unsupported: frozenset[int] = frozenset()  # numbers of sentences
    repeated: frozenset[int] = frozenset()  # of those that say again what was said
    relevant: Mapping[str, bool] | None = None  # by key of the passage, where it was marked
    seconds: int = 0


def keep(label: Label, form: Form) -> None:
    """A draft, so that nothing is lost with the page; claims the item for longer."""
    label.kind = form.kind if form.kind in kinds(label.item) else ""
    label.note = form.note[:NOTE]
    label.sentences = _sentences(label.item, form)
    label.seconds = _bounded(form.seconds)
    label.draft = {"relevant": dict(form.relevant or {})}
    label.lease_until = timezone.now() + claiming.LEASE
    fields = ["kind", "note", "sentences", "seconds", "draft", "lease_until"]
    Label.objects.filter(pk=label.pk, done_at=None).update(
        **{name: getattr(label, name) for name in fields}
    )


@transaction.atomic
def finish(label: Label, form: Form) -> Label:
    """Label an item. Raises ValidationError without a verdict that fits, Conflict when others
    have labelled or decided it meanwhile."""
    item = Item.objects.select_for_update(of=("self",)).select_related("sample").get(
        pk=label.item_id
    )  # fmt: skip
    if form.kind not in kinds(item):
        raise ValidationError(_("Say what it was: one of the verdicts."))
    if not claiming.open_to(item, label):
        raise Conflict(_("Others have labelled this item meanwhile. Yours is not needed any more."))
    label.kind, label.note = form.kind, form.note.strip()[:NOTE]
    label.sentences = _sentences(item, form)
    label.seconds, label.draft = _bounded(form.seconds), {}
    label.done_at, label.lease_until = timezone.now(), None
    label.save()
    _judge(item, label, form.relevant)
    _resettle(item, label.rater)
    return label


def _bounded(seconds: int) -> int:
    return min(max(seconds, 0), LONGEST)


def _sentences(item: Item, form: Form) -> list[dict[str, Any]]:
    if not item.answered or item.turn is None or item.turn.reply is None:
        return []
    count = len(sentences_of(item.turn.reply.text))
    return [
        {"n": n, "supported": n not in form.unsupported}
        | ({"again": True} if n in form.repeated else {})
        for n in range(1, count + 1)
    ]


def _judge(item: Item, label: Label, marked: Mapping[str, bool] | None) -> None:
    """What the rater says of every passage that they saw: others may have added some since."""
    Relevance.objects.filter(
        passage__item=item, rater=label.rater, adjudicates=label.adjudicates
    ).delete()
    Relevance.objects.bulk_create(
        Relevance(
            passage=passage,
            rater=label.rater,
            relevant=usual(passage, label.kind) if marked is None else marked[passage.key],
            adjudicates=label.adjudicates,
        )
        for passage in item.pool.all()
        if marked is None or passage.key in marked
    )


def usual(passage: PooledPassage, kind: str) -> bool:
    """Whether a passage counts as relevant until a rater marks it."""
    return kind in GROUNDED and "cited" in passage.methods


@transaction.atomic
def undo(label: Label) -> Label:
    """Take a label back; it is a draft again. Raises Conflict once somebody decides by it."""
    item = Item.objects.select_for_update(of=("self",)).select_related("sample").get(
        pk=label.item_id
    )  # fmt: skip
    label = Label.objects.select_for_update().select_related("rater").get(pk=label.pk)
    if label.done_at is None:
        return label
    if not label.adjudicates and item.labels.filter(adjudicates=True).exists():
        raise Conflict(_("It is being decided on by it: it cannot be taken back any more."))
    mine = Relevance.objects.filter(
        passage__item=item, rater=label.rater, adjudicates=label.adjudicates
    )
    marks = dict(mine.values_list("passage__key", "relevant"))
    mine.delete()
    label.draft, label.done_at = {"relevant": marks}, None
    label.lease_until = timezone.now() + claiming.LEASE
    label.save()
    _resettle(item, label.rater)
    return label

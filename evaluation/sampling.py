"""Drawing turns by lot: what may be drawn, how many it takes, and the drawing itself.

Which turn is drawn follows from the seed and the turn's number alone: those of a stratum with the
lowest digests. The same seed and frame therefore give the same turns, in any order and version.
"""

import hashlib
import math
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from operator import itemgetter
from statistics import median
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import BigIntegerField, Case, CharField, Count, F, QuerySet, Value, When
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Floor, Least
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_q.tasks import async_task

from chat import configurations
from chat.models import Configuration, Turn
from evaluation import estimating
from evaluation.models import Design, Item, Label, Sample, SamplingPlan, Stratum
from evaluation.models.sampling import MOST, RATERS
from knowledge.models import KnowledgeBase
from knowledge.tasks import LONG_SECONDS

AXES = {
    "base": gettext_lazy("knowledge base"),
    "channel": gettext_lazy("channel"),
    "outcome": gettext_lazy("outcome"),
    "band": gettext_lazy("confidence"),
}
OUTCOMES = (Turn.Outcome.ANSWERED, Turn.Outcome.HANDOFF)
BANDS = 4  # of confidence, a quarter each: 0 is below .25
# Why a turn of the time is not in the population; the first that holds.
REASONS = {
    "unfinished": gettext_lazy("not finished"),
    "staff": gettext_lazy("asked by staff, trying it out"),
    "chat": gettext_lazy("small talk"),
    "clarifying": gettext_lazy("OpsDesk asked back"),
    "discarded": gettext_lazy("a person had taken over"),
    "failed": gettext_lazy("failed"),
    "unsought": gettext_lazy("nothing was looked for"),
    "gone": gettext_lazy("its knowledge base was deleted"),
}
SECONDS = 45  # for an item, until raters have shown how long they take
TIMED = 500  # labels that tell it
FEWEST_TIMED = 20


@dataclass(frozen=True)
class Frame:
    """What is drawn from; an empty part means all."""

    since: datetime
    until: datetime
    bases: tuple[int, ...] = ()
    channels: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    bands: tuple[int, ...] = ()
    configuration: str = ""  # a `Configuration`'s id; "none": the settings of the environment

    def to_json(self) -> dict[str, Any]:
        made = asdict(self)
        times = {"from": made.pop("since").isoformat(), "to": made.pop("until").isoformat()}
        return {**times, **{name: _plain(value) for name, value in made.items()}}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Frame":
        """Out of what `to_json` made."""
        lists = {
            name: tuple(given.get(name, ())) for name in ("bases", "channels", "outcomes", "bands")
        }
        since, until = (datetime.fromisoformat(given[name]) for name in ("from", "to"))
        return cls(since, until, **lists, configuration=given.get("configuration", ""))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Wish:
    """A sample as it is wanted. With `half_width` the size follows, else `size` is it."""

    frame: Frame
    name: str = ""
    design: str = Design.STRATIFIED
    axes: tuple[str, ...] = ("base", "outcome")
    minimum: int = 5  # items of a stratum, as far as it has so many
    size: int | None = None
    half_width: float | None = 0.05
    expected: float = 0.9  # accuracy, by which the size is reckoned
    raters: int = RATERS

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "axes": list(self.axes), "frame": self.frame.to_json()}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Wish":
        made = {**given, "axes": tuple(given["axes"]), "frame": Frame.of(given["frame"])}
        return cls(**made)


@dataclass(frozen=True)
class Cell:
    """Turns of a population that are alike in all axes."""

    base: int
    channel: str
    outcome: str
    band: int

    def on(self, axes: Iterable[str]) -> dict[str, Any]:
        return {axis: getattr(self, axis) for axis in AXES if axis in axes}


@dataclass(frozen=True)
class Planned:
    """A stratum before it is drawn."""

    key: dict[str, Any]
    population: int
    drawn: int


@dataclass(frozen=True)
class Outlook:
    """What a wish comes to: nothing is drawn yet."""

    population: int
    excluded: dict[str, int]
    strata: list[Planned] = field(default_factory=list)
    answered: int = 0  # of the population
    labels: int = 0  # answered items that the interval needs
    minutes: int = 0  # of labelling, all raters together
    reached: float | None = None  # half of the interval that the answered items bring

    @property
    def size(self) -> int:
        return sum(one.drawn for one in self.strata)

    @property
    def whole(self) -> bool:
        """Whether all there is would be drawn: then nothing is left to chance."""
        return 0 < self.population == self.size


# --- the population -----------------------------------------------------------------------


def turns(frame: Frame) -> QuerySet[Any]:
    """Turns of the frame's time and channels, each with why it does not count ("": it does)."""
    rows = Turn.objects.filter(created_at__gte=frame.since, created_at__lt=frame.until)
    if frame.channels:
        rows = rows.filter(conversation__channel__in=frame.channels)
    if frame.configuration == "none":
        rows = rows.filter(trace__configuration__isnull=True)
    elif frame.configuration:
        rows = rows.filter(trace__configuration__id=int(frame.configuration))
    known = list(KnowledgeBase.objects.values_list("pk", flat=True))
    outcome = Turn.Outcome
    rows = rows.annotate(base=Cast(KT("trace__sureness__base"), BigIntegerField()))
    excluded = Case(
        When(status__in=(Turn.Status.QUEUED, Turn.Status.RUNNING), then=Value("unfinished")),
        When(conversation__user__is_staff=True, then=Value("staff")),
        When(outcome=outcome.CHAT, then=Value("chat")),
        When(outcome=outcome.CLARIFYING, then=Value("clarifying")),
        When(outcome=outcome.DISCARDED, then=Value("discarded")),
        When(outcome=outcome.FAILED, then=Value("failed")),
        When(base=None, then=Value("unsought")),
        When(base__in=known, then=Value("")),
        default=Value("gone"),
        output_field=CharField(),
    )
    band = Cast(Least(Floor(F("confidence") * BANDS), Value(BANDS - 1.0)), BigIntegerField())
    return rows.annotate(excluded=excluded, channel=F("conversation__channel"), band=band)


def _counted(frame: Frame) -> tuple[Counter[Cell], dict[str, int]]:
    """The population by cells, and by reason what is left out."""
    cells: Counter[Cell] = Counter()
    excluded: Counter[str] = Counter()
    rows = turns(frame).values_list("excluded", "base", "channel", "outcome", "band")
    for reason, *cell, count in rows.annotate(n=Count("pk")).order_by():
        if reason:
            excluded[reason] += count
        elif _inside(frame, made := Cell(*cell)):
            cells[made] += count
    return cells, {name: excluded[name] for name in REASONS if excluded[name]}


def _inside(frame: Frame, cell: Cell) -> bool:
    wanted = (
        (frame.bases, cell.base),
        (frame.outcomes, cell.outcome),
        (frame.bands, cell.band),
    )
    return all(not some or value in some for some, value in wanted)


# --- how many -----------------------------------------------------------------------------


def outlook(wish: Wish) -> Outlook:
    """What would be drawn. Raises ValidationError when a wish cannot be met."""
    return _outlook(wish, *_counted(wish.frame))


def _outlook(wish: Wish, cells: Counter[Cell], excluded: dict[str, int]) -> Outlook:
    population = sum(cells.values())
    answered = sum(n for cell, n in cells.items() if cell.outcome == Turn.Outcome.ANSWERED)
    labels = labels_for(wish.half_width, wish.expected) if wish.half_width else 0
    size = wish.size or 0
    if labels:  # refusals are drawn beside them
        size = population if labels >= answered else math.ceil(labels * population / answered)
    size = min(size, population)
    if size > MOST:
        said = _("That takes %(size)d items; a sample has at most %(most)d.")
        raise ValidationError(said % {"size": size, "most": MOST})
    strata: Counter[tuple[tuple[str, Any], ...]] = Counter()
    for cell, count in cells.items():
        strata[tuple(cell.on(_axes(wish)).items())] += count
    keys = sorted(strata, key=str)
    drawn = allocate([strata[key] for key in keys], size, wish.minimum)
    planned = [Planned(dict(key), strata[key], n) for key, n in zip(keys, drawn, strict=True)]
    total = sum(drawn)
    share = round(total * answered / population) if population else 0
    return Outlook(
        population=population,
        excluded=excluded,
        strata=planned,
        answered=answered,
        labels=labels,
        minutes=math.ceil(total * wish.raters * seconds() / 60),
        reached=width(share, wish.expected) if share else None,
    )


def _axes(wish: Wish) -> tuple[str, ...]:
    return wish.axes if wish.design == Design.STRATIFIED else ()


def labels_for(half_width: float, expected: float) -> int:
    """How many labelled answers bring an exact interval of ± `half_width` around `expected`."""
    count = estimating.for_width(half_width, expected)
    while width(count, expected) > half_width:
        count += max(1, count // 100)
    return count


def width(count: int, expected: float) -> float:
    """Half of the exact interval of `count` labels."""
    made = estimating.exact(expected * count, count)
    return (made.high - made.low) / 2


def allocate(populations: Sequence[int], size: int, minimum: int) -> list[int]:
    """How many of each stratum: in proportion, but at least `minimum` as far as it has them, even
    if that makes more than `size`. At least one: of a stratum without items nothing is known."""
    total = sum(populations)
    drawn = [min(max(minimum, 1), population) if size else 0 for population in populations]
    while sum(drawn) < min(size, total):
        lacking = [
            (size * population / total - n if n < population else -math.inf)
            for population, n in zip(populations, drawn, strict=True)
        ]
        drawn[lacking.index(max(lacking))] += 1
    return drawn


def seconds() -> float:
    """What labelling an item takes: the median of the last ones."""
    last = Label.objects.done().filter(seconds__gt=0).order_by("-pk")[:TIMED]
    taken = list(last.values_list("seconds", flat=True))
    return median(taken) if len(taken) >= FEWEST_TIMED else SECONDS


# --- drawing ------------------------------------------------------------------------------


def lot(seed: int, turn: int) -> bytes:
    """The turn's place in the drawing: the lowest are drawn."""
    return hashlib.sha256(f"{seed}:{turn}".encode()).digest()


def new_seed() -> int:
    return secrets.randbelow(2**31)


@transaction.atomic
def draw(
    wish: Wish, user: Any, seed: int | None = None, plan: SamplingPlan | None = None
) -> Sample:
    """Draw a sample. Raises ValidationError when there is nothing to draw."""
    seed = new_seed() if seed is None else seed
    cells: Counter[Cell] = Counter()
    members: dict[str, list[tuple[int, Cell]]] = defaultdict(list)
    rows = turns(wish.frame).filter(excluded="")
    for pk, *values in rows.values_list("pk", "base", "channel", "outcome", "band").order_by("pk"):
        if _inside(wish.frame, cell := Cell(*values)):
            cells[cell] += 1
            members[str(cell.on(_axes(wish)))].append((pk, cell))
    _all, excluded = _counted(wish.frame)
    made = _outlook(wish, cells, excluded)
    if not made.size:
        raise ValidationError(_("There is nothing to draw from: no question of this time counts."))
    sample = _sample(wish, made, seed, user, plan)
    strata = Stratum.objects.bulk_create(
        Stratum(sample=sample, key=one.key, population=one.population, drawn=one.drawn)
        for one in made.strata
    )
    lots = [
        (lot(seed, pk), pk, cell, stratum)
        for stratum in strata
        for pk, cell in _first(seed, members[str(stratum.key)], stratum.drawn)
    ]
    Item.objects.bulk_create(
        Item(
            sample=sample,
            stratum=stratum,
            turn_id=pk,
            position=position,
            bases=[cell.base],
            answered=cell.outcome == Turn.Outcome.ANSWERED,
        )
        for position, (_lot, pk, cell, stratum) in enumerate(sorted(lots, key=itemgetter(0)), 1)
    )
    async_task("evaluation.pooling.pool_all", sample.pk, timeout=LONG_SECONDS)
    return sample


def _first(seed: int, members: list[tuple[int, Cell]], count: int) -> list[tuple[int, Cell]]:
    return sorted(members, key=lambda one: lot(seed, one[0]))[:count]


def _sample(wish: Wish, made: Outlook, seed: int, user: Any, plan: SamplingPlan | None) -> Sample:
    return Sample.objects.create(
        name=wish.name,
        seed=seed,
        design=wish.design,
        frame=wish.frame.to_json(),
        axes=list(_axes(wish)),
        k=passages_shown(wish.frame),
        raters=wish.raters,
        half_width=wish.half_width,
        expected=wish.expected,
        population=made.population,
        excluded=made.excluded,
        size=made.size,
        by=user,
        plan=plan,
    )


def passages_shown(frame: Frame) -> int:
    """How many passages the answerer gets, at most."""
    overrides: dict[str, Any] = {}
    if frame.configuration == "":
        overrides = configurations.overrides()
    elif frame.configuration != "none":
        used = Configuration.objects.filter(pk=int(frame.configuration)).first()
        overrides = used.overrides if used else {}
    return int(overrides.get("PASSAGES", settings.PASSAGES))


# --- on a schedule ------------------------------------------------------------------------


def period(every: str, at: datetime) -> tuple[datetime, datetime]:
    """The last whole week (from Monday on) or month before `at`, in local time."""
    today = timezone.localtime(at).replace(hour=0, minute=0, second=0, microsecond=0)
    if every == SamplingPlan.Every.WEEK:
        until = today - timedelta(days=today.weekday())
        return until - timedelta(days=7), until
    until = today.replace(day=1)
    return (until - timedelta(days=1)).replace(day=1), until


def following(every: str, at: datetime) -> datetime:
    """When a plan is drawn next: in the night after the period that `at` is in."""
    _since, until = period(every, at)
    later = until + (timedelta(days=7) if every == SamplingPlan.Every.WEEK else timedelta(days=32))
    begins = later if every == SamplingPlan.Every.WEEK else later.replace(day=1)
    return begins + timedelta(hours=4)


def draw_due(now: datetime | None = None) -> int:
    """Draw what plans want by now; how many samples. A task by the clock."""
    now = now or timezone.now()
    due = SamplingPlan.objects.filter(active=True, next_at__lte=now)
    return sum(draw_planned(pk, now) for pk in due.values_list("pk", flat=True))


@transaction.atomic
def draw_planned(pk: int, now: datetime) -> bool:
    """Draw a plan's period once, and note when it is next; whether there was something to draw."""
    plan = SamplingPlan.objects.select_for_update().get(pk=pk)
    if not plan.active or plan.next_at > now:
        return False
    since, until = period(plan.every, now)
    wish = Wish.of(plan.wish)
    name = f"{plan.name} {since:%Y-%m-%d}"
    wish = replace(wish, name=name, frame=replace(wish.frame, since=since, until=until))
    plan.said, plan.next_at = "", following(plan.every, now)
    try:
        with transaction.atomic():
            draw(wish, plan.by, plan=plan)
    except IntegrityError:  # this period was drawn before
        pass
    except ValidationError as error:
        plan.said = " ".join(error.messages)
    plan.save(update_fields=["said", "next_at"])
    return not plan.said

"""How the service runs: what was asked, how quickly, what it cost, out of the daily tallies.

Every figure is one aggregate over `Tally` and its like; no page looks at single turns.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet, Sum
from django.utils import timezone

from chat.models import ToolCall, Turn
from evaluation import tallying
from evaluation.models import Day, DocumentTally, Price, Spending, Tally
from evaluation.paces import quantile, total
from knowledge import permissions, scope
from knowledge.models import Document, KnowledgeBase

DAYS = 30  # of a period, unless another is chosen
LONGEST = 366
DIMENSIONS = ("base", "topic", "channel", "model", "prompt", "configuration")
COUNTED = tallying.Counted
STEPS = tallying.STEPS
PACES = tallying.Paces
MANY = 50  # rows of a breakdown
MILLION = 1_000_000


def may_view_all(user: Any) -> bool:
    """Whether `user` sees figures of every base, also of questions to none."""
    return user.is_active and user.is_staff and user.has_perm("evaluation.view_tally")


def bases(user: Any) -> QuerySet[KnowledgeBase]:
    """The bases whose figures `user` sees."""
    if may_view_all(user):
        return KnowledgeBase.objects.all()
    return permissions.bases(user, "view")


@dataclass(frozen=True)
class Period:
    """Days, both included, and what is looked at of them; `of` names values of DIMENSIONS."""

    first: date
    last: date
    of: dict[str, Any] = field(default_factory=dict)
    bases: tuple[int, ...] | None = None  # that may be seen; None: all

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    @property
    def whole(self) -> bool:
        """Whether it is all that was asked."""
        return not self.of and self.bases is None

    def before(self) -> "Period":
        """As many days that went before it."""
        length = timedelta(days=len(self.days))
        return Period(self.first - length, self.last - length, self.of, self.bases)

    def tallies(self, prefix: str = "") -> Q:
        wanted: dict[str, Any] = {f"{prefix}day__gte": self.first, f"{prefix}day__lte": self.last}
        wanted |= {f"{prefix}{name}": value for name, value in self.of.items()}
        if self.bases is not None:
            wanted[f"{prefix}base__in"] = self.bases
        return Q(**wanted)

    def begins(self) -> datetime:
        return timezone.make_aware(datetime.combine(self.first, datetime.min.time()))

    def ends(self) -> datetime:
        following = self.last + timedelta(days=1)
        return timezone.make_aware(datetime.combine(following, datetime.min.time()))


@dataclass(frozen=True)
class Figures:
    """Counts of tallies that were added up, and what follows from them; shares are 0–1."""

    counted: dict[str, int]
    paces: dict[str, Sequence[float] | None] = field(default_factory=dict)

    def __getattr__(self, name: str) -> int:
        counted: dict[str, int] = self.__dict__.get("counted", {})  # not yet while it is unpickled
        if name not in counted:
            raise AttributeError(name)
        return counted[name]

    @property
    def asked(self) -> int:
        """Questions; small talk is none."""
        return self.answered + self.clarified + self.handed + self.failed

    @property
    def answered_share(self) -> float | None:
        return _share(self.answered, self.asked)

    @property
    def kept_share(self) -> float | None:
        return _share(self.kept, self.answered)

    @property
    def solved(self) -> float | None:
        return _share(self.alone, self.conversations)

    @property
    def failed_share(self) -> float | None:
        return _share(self.failed, self.asked)

    @property
    def bad_share(self) -> float | None:
        return _share(self.bad, self.rated)

    @property
    def right_share(self) -> float | None:
        return _share(self.right, self.judged)

    def took(self, name: str, share: float = 0.5) -> float | None:
        """Milliseconds of a pace (of PACES) that `share` of the turns did not exceed."""
        return quantile(self.paces.get(name), share)

    def timed(self, name: str) -> int:
        return total(self.paces.get(name))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _sums(*paces: str) -> dict[str, Any]:
    return {f"sum_{name}": Sum(name) for name in (*COUNTED, *paces)}


def _figures(row: Mapping[str, Any]) -> Figures:
    counted = {name: row[f"sum_{name}"] or 0 for name in COUNTED}
    return Figures(counted, {name: row.get(f"sum_{name}") for name in PACES})


def overview(period: Period) -> Figures:
    return _figures(Tally.objects.filter(period.tallies()).aggregate(**_sums(*PACES)))


def daily(period: Period) -> dict[date, Figures]:
    """By day; days on which nothing was counted are missing."""
    rows = Tally.objects.filter(period.tallies()).order_by().values("day")
    return {row["day"]: _figures(row) for row in rows.annotate(**_sums("first", "whole"))}


def by(period: Period, dimension: str) -> list[tuple[Any, Figures]]:
    """The commonest values of one of DIMENSIONS."""
    rows = Tally.objects.filter(period.tallies()).order_by().values(dimension)
    made = rows.annotate(**_sums("first", "whole")).order_by("-sum_turns", dimension)[:MANY]
    return [(row[dimension], _figures(row)) for row in made]


def choices(period: Period, dimension: str) -> list[Any]:
    """The values that a dimension had in the time of `period`, whatever else it asks for."""
    within = Period(period.first, period.last, {}, period.bases)
    rows = Tally.objects.filter(within.tallies()).order_by(dimension)
    return [one for one in rows.values_list(dimension, flat=True).distinct()[:200]
            if one not in ("", None)]  # fmt: skip


def degraded(period: Period) -> dict[str, int]:
    """Turns that did without something, by the names of `chat.degrading`."""
    rows = Tally.objects.filter(period.tallies()).exclude(degraded={})
    counts: dict[str, int] = defaultdict(int)
    for held in rows.values_list("degraded", flat=True).iterator():
        for name, number in held.items():
            counts[name] += number
    return dict(counts)


# --- questions a minute -----------------------------------------------------------------


@dataclass(frozen=True)
class Rate:
    """Questions and small talk a minute: on average over all hours, and of the busiest minute."""

    mean: float
    peak: int | None  # None where not all that was asked is looked at


def rate(period: Period, turns: int) -> Rate:
    days = min(len(period.days), max(1, (timezone.localdate() - period.first).days + 1))
    minutes = days * 24 * 60
    held = Day.objects.filter(day__gte=period.first, day__lte=period.last)
    peak = held.aggregate(peak=Max("peak"))["peak"] or 0
    return Rate(turns / minutes, peak if period.whole else None)


# --- cost -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What requests by a prompt to a model came to."""

    model: str
    prompt: str
    version: str
    requests: int
    told: int  # of them, with tokens
    tokens_in: int
    tokens_out: int
    price: Price | None
    took: Sequence[float] | None

    @property
    def step(self) -> str:
        """ "answer" of "answer.system"."""
        return self.prompt.partition(".")[0]

    @property
    def amount(self) -> Decimal | None:
        """In the currency of its price; None without one."""
        if self.price is None:
            return None
        told = self.tokens_in * self.price.per_million_in
        written = self.tokens_out * self.price.per_million_out
        return (told + written) / MILLION

    @property
    def median(self) -> float | None:
        return quantile(self.took, 0.5)

    @property
    def p95(self) -> float | None:
        return quantile(self.took, 0.95)


def costs(period: Period) -> list[Cost]:
    """By step, prompt version and model, the dearest in tokens first."""
    prices = {price.model: price for price in Price.objects.all()}
    rows = (
        Spending.objects.filter(period.tallies("tally__"))
        .order_by()
        .values("model", "prompt", "version")
        .annotate(
            n=Sum("requests"), known=Sum("told"), read=Sum("tokens_in"), wrote=Sum("tokens_out"),
            pace=Sum("took"),
        )
    )  # fmt: skip
    made = [
        Cost(row["model"], row["prompt"], row["version"], row["n"], row["known"], row["read"],
             row["wrote"], prices.get(row["model"]), row["pace"])
        for row in rows
    ]  # fmt: skip
    return sorted(made, key=lambda one: (-one.tokens_in - one.tokens_out, one.model, one.prompt))


def amounts(costs: Iterable[Cost]) -> dict[str, Decimal]:
    """The sum in each currency."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for one in costs:
        if one.price is not None and one.amount is not None:
            sums[one.price.currency] += one.amount
    return dict(sums)


def daily_costs(period: Period) -> dict[str, dict[date, float]]:
    """{currency: {day: amount}}; tokens of models without a price are left out."""
    prices = {price.model: price for price in Price.objects.all()}
    rows = (
        Spending.objects.filter(period.tallies("tally__"), model__in=prices)
        .order_by()
        .values("tally__day", "model")
        .annotate(read=Sum("tokens_in"), wrote=Sum("tokens_out"))
    )
    made: dict[str, dict[date, float]] = defaultdict(lambda: defaultdict(float))
    for row in rows:
        price = prices[row["model"]]
        amount = row["read"] * price.per_million_in + row["wrote"] * price.per_million_out
        made[price.currency][row["tally__day"]] += float(amount) / MILLION
    return {currency: dict(days) for currency, days in made.items()}


# --- tools ------------------------------------------------------------------------------


@dataclass(frozen=True)
class ToolUse:
    tool: str
    calls: int  # that were made, and are over
    done: int
    seconds: float | None  # on average
    slowest: float | None

    @property
    def share(self) -> float | None:
        return _share(self.done, self.calls)


def tools(period: Period) -> list[ToolUse]:
    """How calls of tools ended; what was not confirmed or not allowed was never made."""
    status = ToolCall.Status
    over = Q(status__in=[status.DONE, status.FAILED, status.UNKNOWN])
    calls = ToolCall.objects.filter(
        over, trial=False, created_at__gte=period.begins(), created_at__lt=period.ends()
    )
    if not period.whole:
        calls = calls.filter(_of_turns(period))
    rows = (
        calls.order_by()
        .values("tool")
        .annotate(
            n=Count("pk"), good=Count("pk", filter=Q(status=status.DONE)),
            mean=Sum("seconds") / Count("seconds"), most=Max("seconds"),
        )
        .order_by("-n", "tool")[:MANY]
    )  # fmt: skip
    return [ToolUse(row["tool"], row["n"], row["good"], row["mean"], row["most"]) for row in rows]


def _of_turns(period: Period) -> Q:
    """Calls of conversations that ask the bases and come by the channel that are looked at."""
    wanted = Q()
    if "channel" in period.of:
        wanted &= Q(conversation__channel=period.of["channel"])
    if "base" in period.of:
        wanted &= Q(conversation__knowledge_base=period.of["base"])
    if period.bases is not None:
        wanted &= Q(conversation__knowledge_base__in=period.bases)
    return wanted


# --- documents --------------------------------------------------------------------------


def documents(period: Period) -> Any:
    """What documents did in the time, summed up by document; of a period's base alone."""
    return (
        _of_documents(period)
        .order_by()
        .values("document", "document__title", "document__knowledge_base")
        .annotate(
            n_found=Sum("found"), n_cited=Sum("cited"), n_rated=Sum("rated"), n_bad=Sum("bad"),
            n_judged=Sum("judged"), n_wrong=Sum("wrong"),
        )
    )  # fmt: skip


def _of_documents(period: Period) -> QuerySet[DocumentTally]:
    rows = DocumentTally.objects.filter(day__gte=period.first, day__lte=period.last)
    if "base" in period.of:
        rows = rows.filter(document__knowledge_base=period.of["base"])
    if period.bases is not None:
        rows = rows.filter(document__knowledge_base__in=period.bases)
    return rows


@dataclass(frozen=True)
class Used:
    """How much of what answers was of use."""

    answering: int
    found: int
    cited: int

    @property
    def share(self) -> float | None:
        return _share(self.cited, self.answering)


def used(period: Period) -> Used:
    """Documents that answer today, of which so many were found and cited in the time."""
    there = Document.objects.filter(scope.answering(), current__isnull=False)
    if "base" in period.of:
        there = there.filter(knowledge_base=period.of["base"])
    if period.bases is not None:
        there = there.filter(knowledge_base__in=period.bases)
    rows = _of_documents(period).filter(document__in=there).aggregate(
        found=Count("document", distinct=True, filter=Q(found__gt=0)),
        cited=Count("document", distinct=True, filter=Q(cited__gt=0)),
    )  # fmt: skip
    return Used(there.count(), rows["found"], rows["cited"])


# --- now --------------------------------------------------------------------------------


def today() -> Figures:
    """Today's turns as they stand, without the times: the tallies come minutes later."""
    begin = Period(timezone.localdate(), timezone.localdate()).begins()
    rows = Turn.objects.filter(created_at__gte=begin, status=Turn.Status.DONE)
    counts = dict(rows.order_by().values_list("outcome").annotate(Count("pk")))
    counted = dict.fromkeys(COUNTED, 0)
    counted |= {name: counts.get(value, 0) for value, name in tallying.OUTCOMES.items()}
    counted["turns"] = sum(counts.values())
    return Figures(counted)


def counted_since() -> date | None:
    """The first day there is."""
    return Day.objects.filter(turns__gt=0).aggregate(first=Min("day"))["first"]

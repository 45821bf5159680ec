"""Two configurations on real traffic: who gets which, what came of each, and when to stop.

A visitor is put on a line from 0 to 1 by a salted hash and gets the candidate below the share, so
that raising it takes nobody's candidate away. Everybody else is what it is compared with.
"""

import hashlib
import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat import configurations
from chat.configurations import Variant
from chat.models import Configuration, Conversation
from evaluation.models import Experiment
from opsdesk import gates
from opsdesk.gates import Change

FEWEST = 30  # turns of the candidate before it is judged
SHOWN = 0.95
# It is looked at again and again: a difference has to be this sure before it is stopped for it.
STOPPED = 0.99
MODES = ("answered", "clarifying", "handoff", "failed")


class Waits(ValidationError):
    """A gate still looks at the candidate; `url` leads to how far it is."""

    def __init__(self, message: str, url: str) -> None:
        super().__init__(message)
        self.url = url


@dataclass(frozen=True)
class Measure:
    """What is compared: a share of which more is better or worse."""

    label: Any
    good: bool
    guards: bool = False


MEASURES = {
    "handoff": Measure(gettext_lazy("handed off"), good=False, guards=True),
    "disliked": Measure(
        gettext_lazy("rated as not helpful, of rated answers"), good=False, guards=True
    ),
    "failed": Measure(gettext_lazy("failed"), good=False, guards=True),
    "answered": Measure(gettext_lazy("answered"), good=True),
}


@dataclass(frozen=True)
class Difference:
    """A share among the candidate's turns less that among the others', Newcombe's interval."""

    n: int
    share: float
    others: int
    other_share: float
    difference: float
    low: float
    high: float


# --- who gets which ---------------------------------------------------------------------


def variant(conversation: Conversation) -> Variant | None:
    """`settings.VARIANTS`: what the running experiment gives for a conversation."""
    experiment = Experiment.objects.filter(state=Experiment.State.RUNNING).first()
    if experiment is None or experiment.control_digest != _control():
        return None
    if place(experiment.salt, conversation) < experiment.share:
        return Variant(experiment.pk, "b", experiment.candidate_id)
    return Variant(experiment.pk, "a", None)


def _control() -> str:
    """The digest of what everybody gets; "" of the environment's settings."""
    used = configurations.active()
    return used.digest if used else ""


def place(salt: str, conversation: Conversation) -> float:
    """Where whoever asks stands, 0–1; the same in all their conversations."""
    who = (
        f"user:{conversation.user_id}" if conversation.user_id
        else f"site:{conversation.site_id}:{conversation.identity}" if conversation.identity
        else f"visitor:{conversation.visitor}" if conversation.visitor
        else f"conversation:{conversation.pk}"
    )  # fmt: skip
    digest = hashlib.blake2b(f"{salt}\0{who}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


# --- starting and stopping --------------------------------------------------------------


def start(experiment: Experiment, user: Any) -> None:
    """Give the candidate to its share. Raises ValidationError while another one runs, for a
    candidate that everybody has, and while or because a gate looks at it."""
    row = experiment.candidate
    by = user.pk if user else None
    refusal = gates.ask(Change("configuration", row.pk, by=by, overrides=row.overrides))
    if refusal:
        if refusal.waiting:
            text = _("The candidate is replayed first. Start the experiment when that has passed.")
            raise Waits(text, refusal.url)
        raise ValidationError(refusal.reason)
    _start(experiment, user)


@transaction.atomic
def _start(experiment: Experiment, user: Any) -> None:
    if Experiment.objects.select_for_update().filter(state=Experiment.State.RUNNING).exists():
        raise ValidationError(_("Another experiment is running."))
    if experiment.state != Experiment.State.DRAFT:
        raise ValidationError(_("It has been run. Make another one."))
    candidate = Configuration.objects.select_for_update().get(pk=experiment.candidate_id)
    if candidate.state == Configuration.State.ACTIVE:
        raise ValidationError(_("Everybody is answered by this configuration already."))
    now = timezone.now()
    Configuration.objects.filter(pk=candidate.pk).update(
        on_trial=True, used_at=candidate.used_at or now
    )
    experiment.state, experiment.started_at = Experiment.State.RUNNING, now
    experiment.control, experiment.by = str(configurations.active() or ""), user
    experiment.control_digest = _control()
    experiment.save()


@transaction.atomic
def share(experiment: Experiment, value: float) -> None:
    """Give it to another share of the visitors. Raises ValidationError."""
    experiment.share = value
    experiment.clean_fields(
        exclude=[field.name for field in experiment._meta.fields if field.name != "share"]
    )
    Experiment.objects.filter(pk=experiment.pk).update(share=value)


@transaction.atomic
def stop(experiment: Experiment, because: str) -> bool:
    """Answer everybody alike again; whether it was running."""
    stopped = Experiment.objects.filter(
        pk=experiment.pk, state=Experiment.State.RUNNING
    ).update(
        state=Experiment.State.STOPPED, stopped_at=timezone.now(), because=because[:300]
    )  # fmt: skip
    if stopped:
        Configuration.objects.filter(pk=experiment.candidate_id).update(on_trial=False)
        experiment.refresh_from_db()
    return bool(stopped)


# --- what came of it --------------------------------------------------------------------

_COUNTS = """
    SELECT turn.trace #>> '{configuration,arm}', count(*),
        count(*) FILTER (WHERE turn.outcome = 'answered'),
        count(*) FILTER (WHERE turn.outcome = 'handoff'),
        count(*) FILTER (WHERE turn.outcome = 'failed'),
        count(rating.id), count(*) FILTER (WHERE NOT rating.helpful)
    FROM chat_turn turn LEFT JOIN chat_rating rating ON rating.message_id = turn.reply_id
    WHERE turn.created_at >= %s AND turn.created_at <= %s AND turn.outcome = ANY(%s)
        AND (turn.trace #>> '{configuration,experiment}')::bigint = %s
        AND (turn.trace #>> '{configuration,arm}' = 'b'
            OR coalesce(turn.trace #>> '{configuration,digest}', '') = %s)
    GROUP BY 1
"""


def measure(experiment: Experiment) -> dict[str, Any]:
    """Count both sides anew and keep the figures: {name: Difference as a dict}."""
    until = experiment.stopped_at or timezone.now()
    with connection.cursor() as cursor:
        control = experiment.control_digest
        parameters = [experiment.started_at, until, list(MODES), experiment.pk, control]
        cursor.execute(_COUNTS, parameters)
        sides = {arm: counts for arm, *counts in cursor.fetchall()}
    nothing = [0] * 6
    mine, others = _shares(sides.get("b", nothing)), _shares(sides.get("a", nothing))
    figures = {name: asdict(apart(*mine[name], *others[name])) for name in MEASURES}
    Experiment.objects.filter(pk=experiment.pk).update(
        figures=figures, measured_at=timezone.now()
    )  # fmt: skip
    experiment.figures = figures
    return figures


def _shares(counts: list[int]) -> dict[str, tuple[int, int]]:
    turns, answered, handoff, failed, rated, disliked = counts
    return {
        "handoff": (handoff, turns),
        "disliked": (disliked, rated),
        "failed": (failed, turns),
        "answered": (answered, turns),
    }


def apart(mine: int, n: int, others: int, of_others: int, confidence: float = SHOWN) -> Difference:
    """Newcombe's interval of the difference of two shares, out of Wilson's of each (his method
    10, Statistics in Medicine 17, 1998). Of nothing it is from -1 to 1."""
    one, low1, high1 = wilson(mine, n, confidence)
    two, low2, high2 = wilson(others, of_others, confidence)
    difference = one - two
    low = difference - math.hypot(one - low1, high2 - two)
    high = difference + math.hypot(high1 - one, two - low2)
    if not n or not of_others:
        low, high = -1.0, 1.0
    return Difference(n, one, of_others, two, difference, max(low, -1.0), min(high, 1.0))


def wilson(right: int, n: int, confidence: float) -> tuple[float, float, float]:
    """A share with its interval."""
    if not n:
        return 0.0, 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    value = right / n
    middle = value + z * z / (2 * n)
    around = z * math.sqrt((value * (1 - value) + z * z / (4 * n)) / n)
    whole = 1 + z * z / n
    return value, max(0.0, (middle - around) / whole), min(1.0, (middle + around) / whole)


def guard() -> int:
    """Measure the running experiment, stop it where it is clearly worse or what it is compared
    with is another; a task."""
    stopped = 0
    for experiment in Experiment.objects.filter(state=Experiment.State.RUNNING):
        figures = measure(experiment)
        because = worse(figures) if experiment.guarded else ""
        if experiment.control_digest != _control():
            because = _("All others are answered by another configuration than when it began.")
        if because:
            stopped += stop(experiment, because)
    return stopped


def worse(figures: dict[str, Any]) -> str:
    """In what the candidate is clearly worse, as a sentence; "" in nothing."""
    for name, one in figures.items():
        of = MEASURES[name]
        if not of.guards or one["n"] < FEWEST:
            continue
        mine, others = round(one["share"] * one["n"]), round(one["other_share"] * one["others"])
        sure = apart(mine, one["n"], others, one["others"], STOPPED)
        if sure.low > 0:
            said = _("%(what)s: %(mine).0f %% instead of %(others).0f %%.")
            facts = {"mine": one["share"] * 100, "others": one["other_share"] * 100}
            return said % {"what": of.label, **facts}
    return ""

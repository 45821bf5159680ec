"""Judging turns, and what the judgements teach (`settings.LABELS`)."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.models import Turn
from evaluation.models import Verdict
from knowledge import permissions
from knowledge.calibrating import Label
from knowledge.models import KnowledgeBase

HALF_A_YEAR = timedelta(days=180)
MOST = 5000  # turns, the latest
NOTE = 500  # characters
KINDS = {
    Turn.Outcome.ANSWERED: (
        Verdict.Kind.RIGHT,
        Verdict.Kind.PARTLY,
        Verdict.Kind.WRONG,
        Verdict.Kind.UNANSWERABLE,
    ),
    Turn.Outcome.HANDOFF: (Verdict.Kind.REFUSED, Verdict.Kind.MISSED),
}


def kinds(turn: Turn) -> tuple[Verdict.Kind, ...]:
    """What can be said of a turn; nothing of one in which nothing was looked for."""
    return KINDS.get(Turn.Outcome(turn.outcome), ()) if turn.outcome and base_of(turn) else ()


def base_of(turn: Turn) -> int | None:
    """The base of the best passage, which the turn was about."""
    return turn.trace.get("sureness", {}).get("base")


def may_judge(user: Any, turn: Turn) -> bool:
    """Those who may judge any answer, and curators of the base."""
    base = base_of(turn)
    return base is not None and (
        user.has_perm("evaluation.change_verdict") or permissions.may(user, "change", base)
    )


def judge(turn: Turn, kind: str, note: str, user: Any) -> Verdict:
    """Keep, or change, what is said of a turn; raises PermissionDenied, ValidationError."""
    if not may_judge(user, turn):
        raise PermissionDenied
    if kind not in kinds(turn):
        raise ValidationError(_("This cannot be said of this turn."))
    said = {"kind": kind, "note": note.strip()[:NOTE], "by": user, "item": None}
    verdict, _created = Verdict.objects.update_or_create(turn=turn, defaults=said)
    return verdict


def labels(base: KnowledgeBase) -> Iterator[Label]:
    """The questions that were looked for in a base, judged or not."""
    turns = (
        Turn.objects.filter(
            trace__sureness__base=base.pk, created_at__gte=timezone.now() - HALF_A_YEAR
        )
        .select_related("verdict__item__stratum")
        .only(
            "trace", "created_at", "verdict__kind", "verdict__item__stratum__population",
            "verdict__item__stratum__drawn",
        )
        .order_by("-pk")[:MOST]
    )  # fmt: skip
    for turn in turns:
        verdict: Verdict | None = getattr(turn, "verdict", None)
        right = verdict.right if verdict else None
        stands_for = verdict.item.stratum.weight if verdict and verdict.item else 1.0
        question, sureness = turn.trace.get("query", ""), turn.trace["sureness"]
        yield Label(question, sureness["features"], right, turn.created_at, stands_for)

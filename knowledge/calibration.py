"""How sure a base must be of an answer, and by which model: its own calibration in use, else the
shipped ones.

`knowledge.calibrating` fits it to what staff said of answers.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from knowledge import confidence
from knowledge.asked import standings
from knowledge.models import Calibration, KnowledgeBase
from opsdesk import tuning
from opsdesk.tuning import tuned

TRIED = "CALIBRATION"  # among what is tuned: the id of one that counts for its base


class Sureness(NamedTuple):
    """Probabilities (0–1), and what each must reach."""

    held: float  # that the base holds the answer
    least_held: float
    right: float  # that what would be shown of the passages does
    least_right: float
    own: bool  # whether `right` comes from labels of the base
    calibrated: bool  # whether a base that was asked has labels that set its threshold


def judge(features: Mapping[str, float], base_ids: Sequence[int], best: int | None) -> Sureness:
    """By the model of `best`, the base that the best passage is of; of thresholds the strictest
    of all that were asked."""
    used = _in_use(base_ids)
    own = used.get(best) if best else None
    least = max((least_of(used.get(pk)) for pk in base_ids), default=least_of(None))
    held = confidence.SHIPPED.probability(features)
    return Sureness(held, tuned("CONFIDENCE"), right(features, own), least, bool(own), bool(used))


def right(features: Mapping[str, float], own: Calibration | None) -> float:
    """The probability that answering is right. By the shipped models only where the base seems
    to hold an answer at all: 0 elsewhere."""
    if own:
        return confidence.Model(own.intercept, own.coefficients).probability(features)
    held = confidence.SHIPPED.probability(features) >= tuned("CONFIDENCE")
    return confidence.RIGHT.probability(features) if held else 0.0


def least_of(own: Calibration | None) -> float:
    """What that probability must reach."""
    return own.threshold if own else float(tuned("ANSWER_CONFIDENCE"))


def in_use(base: KnowledgeBase) -> Calibration | None:
    row = Calibration.objects.filter(knowledge_base=base, active=True).first()
    return row if row and fits(row) else None


def _in_use(base_ids: Sequence[int]) -> dict[int, Calibration]:
    """By base. One that was fitted to other features than this version has does not count."""
    rows = [one.calibration for one in standings(base_ids) if one.calibration]
    tried = tuning.given().get(TRIED)  # before it is put to use
    if tried is not None:  # the last of a base counts
        rows += Calibration.objects.filter(pk=tried, knowledge_base__in=base_ids)
    return {row.knowledge_base_id: row for row in rows if fits(row)}


def fits(row: Calibration) -> bool:
    return row.coefficients.keys() == confidence.RIGHT.coefficients.keys()

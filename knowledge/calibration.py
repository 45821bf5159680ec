"""How sure a base must be, and by which model: its own calibration in use, else the shipped one.

`knowledge.calibrating` fits it to what staff said of answers.
"""

from collections.abc import Iterable, Mapping, Sequence

from knowledge import confidence
from knowledge.asked import standings
from knowledge.models import Calibration, KnowledgeBase
from opsdesk import tuning
from opsdesk.tuning import tuned

TRIED = "CALIBRATION"  # among what is tuned: the id of one that counts for its base


def threshold(bases: Iterable[KnowledgeBase]) -> float:
    """What confidence an answer from these bases takes, asked together: the strictest."""
    ids = [base.pk for base in bases]
    return _strictest(ids, _in_use(ids))


def judge(
    features: Mapping[str, float], base_ids: Sequence[int], best: int | None
) -> tuple[float, float]:
    """The confidence by the model of `best`, the base that the best passage is of, and what it
    must reach: the strictest of all that were asked."""
    used = _in_use(base_ids)
    own = used.get(best) if best else None
    return model(own).probability(features), _strictest(base_ids, used)


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
    return row.coefficients.keys() == confidence.SHIPPED.coefficients.keys()


def model(row: Calibration | None) -> confidence.Model:
    return confidence.Model(row.intercept, row.coefficients) if row else confidence.SHIPPED


def _strictest(base_ids: Sequence[int], used: Mapping[int, Calibration]) -> float:
    return max(
        (used[pk].threshold if pk in used else tuned("CONFIDENCE") for pk in base_ids),
        default=tuned("CONFIDENCE"),
    )

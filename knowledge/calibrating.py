"""Fitting how sure a base must be to what staff said of its answers.

The shipped model is where the fit begins and what it is drawn to, so that few labels change it
little. Staff do not judge at random, therefore each label counts for as much of the traffic as
asks alike; that brings the share of questions the base can answer to what it truly is. Whether the
wanted share of right answers is kept is reckoned on labels that were left out of the fitting.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from numpy.typing import NDArray

from knowledge import calibration, confidence
from knowledge.models import Calibration, KnowledgeBase
from opsdesk import gates
from opsdesk.gates import Change, Refusal

FEWEST = 30  # labels, and
FEWEST_OF_KIND = 5  # of them right, and as many wrong: each fold has one
FOLDS = 5
LATEST = 0.3  # of the judged ones, on which a fit to the earlier ones is tried …
FEWEST_LATEST = 60  # … where there are so many of them; else folds are left out in turn
BANDS = 5  # of confidence, in which labels stand for traffic
HEAVIEST = 10.0  # times the average that a label counts at most
# How far labels may move the shipped weights: standard deviations, in logits.
SPREAD, SPREAD_OF_INTERCEPT = 1.0, 2.0
RISING = ("strength", "coverage", "names", "lead", "share")  # more of it never makes less sure


@dataclass(frozen=True)
class Label:
    """A question of real traffic; `right` says whether answering it was or would have been
    right, None where nobody has judged."""

    question: str
    features: dict[str, float]  # of knowledge.confidence, when it was asked
    right: bool | None
    at: datetime
    weight: float = 1.0  # how many questions it was drawn for; 1 of one that staff chose


@dataclass(frozen=True)
class Share:
    """A threshold and what it brings: shares 0–1, with the 95 % interval of the precision."""

    threshold: float
    precision: float | None  # None where nothing is answered
    low: float
    high: float
    coverage: float


@dataclass(frozen=True)
class Bin:
    """Questions of about the same confidence: what it said, and how many were right."""

    said: float
    right: float
    labels: int


@dataclass(frozen=True)
class Fit:
    """A model for a base and, by question that was left out of the fitting, what it said."""

    model: confidence.Model
    said: NDArray[np.float64]
    right: NDArray[np.bool_]
    weights: NDArray[np.float64]  # mean 1

    @property
    def base_rate(self) -> float:
        """The share of traffic that can be answered rightly."""
        return float(np.average(self.right, weights=self.weights))

    def at(self, threshold: float) -> Share:
        return share(self.said, self.right, self.weights, threshold)

    @cached_property
    def curve(self) -> list[Share]:
        """From every question answered to the fewest."""
        steps = np.unique(np.floor(self.said * 1000) / 1000)
        return [self.at(float(step)) for step in steps]

    def reaching(self, target: float) -> Share | None:
        """What answers most and keeps the target even if one more answer had been wrong; by the
        labels' estimate, whose lower bound the interval tells."""
        total = float(self.weights.sum())
        for one in self.curve:
            answered = one.coverage * total
            if one.precision is not None and one.precision * answered >= target * (answered + 1):
                return one
        return None

    @cached_property
    def bins(self) -> list[Bin]:
        places = np.minimum((self.said * 5).astype(int), 4)
        return [
            Bin(
                float(np.average(self.said[at], weights=self.weights[at])),
                float(np.average(self.right[at], weights=self.weights[at])),
                int(at.sum()),
            )
            for place in range(5)
            if (at := places == place).any()
        ]


def share(
    said: NDArray[np.float64],
    right: NDArray[np.bool_],
    weights: NDArray[np.float64],
    threshold: float,
) -> Share:
    """What comes of answering where `said` is at least the threshold; Wilson's interval, of as
    many labels as the weights leave."""
    answered = (said >= threshold) & (said > 0)  # 0: a base seems not to hold it
    if not answered.any():
        return Share(threshold, None, 0.0, 1.0, 0.0)
    of = weights[answered]
    precision = float(np.average(right[answered], weights=of))
    low, high = _wilson(precision, float(of.sum() ** 2 / (of**2).sum()))
    return Share(threshold, precision, low, high, float(of.sum() / weights.sum()))


def _wilson(precision: float, count: float) -> tuple[float, float]:
    """The interval that the true share is in with 95 %, of a share among `count` (no integer)."""
    squared = NormalDist().inv_cdf(0.975) ** 2
    middle = precision + squared / (2 * count)
    around = math.sqrt(squared * (precision * (1 - precision) + squared / (4 * count)) / count)
    whole = 1 + squared / count
    return max(0.0, (middle - around) / whole), min(1.0, (middle + around) / whole)


# --- labels -----------------------------------------------------------------------------


def labels(base: KnowledgeBase) -> list[Label]:
    """The traffic of a base with what staff said of it, from all who keep such. Where no passage
    was found there is nothing to be sure of; an earlier version may have looked at less."""
    return [label for label in _kept(base) if _whole(label)]


def older(base: KnowledgeBase) -> int:
    """How many questions an earlier version looked at less for: no label of theirs counts."""
    return sum(bool(label.features) and not _whole(label) for label in _kept(base))


def _kept(base: KnowledgeBase) -> list[Label]:
    return [label for name in settings.LABELS for label in import_string(name)(base)]


def _whole(label: Label) -> bool:
    return label.features.keys() >= confidence.RIGHT.coefficients.keys()


def lacking(given: Iterable[Label]) -> str:
    """What is missing before a fit makes sense; "" if nothing is."""
    judged = [label.right for label in given if label.right is not None]
    if len(judged) < FEWEST:
        more = FEWEST - len(judged)
        said = ngettext(
            "%(n)d more judged question is needed; there are %(there)d.",
            "%(n)d more judged questions are needed; there are %(there)d.",
            more,
        )
        return said % {"n": more, "there": len(judged)}
    right, wrong = sum(judged), len(judged) - sum(judged)
    if right < FEWEST_OF_KIND:
        said = _("%(n)d more questions with a right answer are needed; there are %(there)d.")
        return said % {"n": FEWEST_OF_KIND - right, "there": right}
    if wrong < FEWEST_OF_KIND:
        said = _("%(n)d more questions without a right answer are needed; there are %(there)d.")
        return said % {"n": FEWEST_OF_KIND - wrong, "there": wrong}
    return ""


def _standing(judged: Sequence[Label], traffic: Sequence[Label]) -> NDArray[np.float64]:
    """How much of the traffic each label stands for, by bands of the shipped confidence that
    hold about as much traffic each; of one in which nothing was judged, those of the next do.
    Within a band labels of samples count for what they were drawn for."""
    of_labels = np.array([confidence.SHIPPED.probability(one.features) for one in judged])
    of_traffic = np.array([confidence.SHIPPED.probability(one.features) for one in traffic])
    edges = np.unique(np.quantile(of_traffic, np.linspace(0, 1, BANDS + 1)[1:-1]))
    bands, asked = np.searchsorted(edges, of_labels), np.searchsorted(edges, of_traffic)
    drawn_for = np.array([one.weight for one in judged])
    in_band = np.bincount(bands, drawn_for, minlength=len(edges) + 1)
    held = np.flatnonzero(in_band)
    nearest = held[np.abs(held[:, None] - asked).argmin(axis=0)]
    wanted = np.bincount(nearest, minlength=len(edges) + 1)
    weights = drawn_for * wanted[bands] / in_band[bands]
    weights = np.minimum(weights / weights.mean(), HEAVIEST)
    return weights / weights.mean()


# --- fitting ----------------------------------------------------------------------------


def fit(given: Sequence[Label]) -> Fit:
    """A model for the base of these labels. Raises ValidationError, with how many more are
    needed, when there are too few."""
    if missing := lacking(given):
        raise ValidationError(missing)
    judged = _judged(given)
    return _fit(judged, _standing(judged, given))


def _judged(given: Iterable[Label]) -> list[Label]:
    """Those of which somebody said whether they were right, in the order of time."""
    return sorted((one for one in given if one.right is not None), key=lambda one: one.at)


def _fit(judged: Sequence[Label], weights: NDArray[np.float64]) -> Fit:
    table = np.array([_row(label.features) for label in judged])
    right = np.array([bool(label.right) for label in judged])
    said = np.zeros(len(judged))
    for rest, left_out in _folds(right):
        fold = refit(table[rest], right[rest], weights[rest])
        said[left_out] = [fold.probability(judged[n].features) for n in left_out]
    return Fit(refit(table, right, weights), said, right, weights)


def _folds(right: NDArray[np.bool_]) -> Iterable[tuple[NDArray[Any], NDArray[Any]]]:
    from sklearn.model_selection import StratifiedKFold  # takes a second

    rarer = int(min(right.sum(), len(right) - right.sum()))
    folds = StratifiedKFold(max(min(FOLDS, rarer), 2), shuffle=True, random_state=0)
    return folds.split(np.zeros(len(right)), right)


@dataclass(frozen=True)
class Trial:
    """What is now and what would be, on labels that neither chose the model nor the threshold."""

    now: Share
    then: Share
    labels: int
    latest: bool  # the latest ones; else all, in turn
    fresh: bool  # the calibration in use is older than they are: it never saw them


def trial(given: Sequence[Label], target: float, used: Calibration | None) -> Trial:
    """Fit and choose by the earlier labels, and try it on the latest; where these are few, by all
    but a fifth, on that fifth, in turn. Wants what `fit` wants."""
    judged = _judged(given)
    weights = _standing(judged, given)
    right = np.array([bool(one.right) for one in judged])
    first = len(judged) - round(LATEST * len(judged))
    latest = len(judged) - first >= FEWEST_LATEST and _both(right[:first])
    whole = np.arange(len(judged))
    splits = [(whole[:first], whole[first:])] if latest else _folds(right)
    answers, tried = np.zeros(len(judged)), []
    for rest, left_out in splits:
        tried.append(left_out)
        fitted = _fit([judged[n] for n in rest], weights[rest])
        if reached := fitted.reaching(target):
            said = [fitted.model.probability(judged[n].features) for n in left_out]
            answers[left_out] = np.array(said) >= reached.threshold
    at = np.sort(np.concatenate(tried))
    holds = np.array([calibration.right(judged[n].features, used) for n in at])
    return Trial(
        now=share(holds, right[at], weights[at], calibration.least_of(used)),
        then=share(answers[at], right[at], weights[at], 0.5),
        labels=len(at),
        latest=latest,
        fresh=used is None or judged[at[0]].at > used.at,
    )


def _both(right: NDArray[np.bool_]) -> bool:
    return int(min(right.sum(), len(right) - right.sum())) >= FEWEST_OF_KIND


def refit(
    table: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> confidence.Model:
    """The shipped model after these labels (rows of features in its order): logistic regression
    with a Gaussian prior around it. Of none it is the shipped model itself."""
    from scipy.optimize import minimize  # takes a second

    names = list(confidence.RIGHT.coefficients)
    prior = np.array([confidence.RIGHT.intercept, *confidence.RIGHT.coefficients.values()])
    spread = np.array([SPREAD_OF_INTERCEPT, *[SPREAD] * len(names)])
    ones = np.ones((len(right), 1))
    inputs = np.hstack([ones, np.reshape(table, (len(right), len(names)))])
    signs = np.where(right, 1.0, -1.0)

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margins = signs * (inputs @ at)
        slopes = -weights * signs * np.exp(-np.logaddexp(0, margins))
        apart = (at - prior) / spread
        value = (weights * np.logaddexp(0, -margins)).sum() + (apart @ apart) / 2
        return float(value), inputs.T @ slopes + apart / spread

    bounds = [(None, None)] + [(0 if name in RISING else None, None) for name in names]
    found = minimize(loss, prior, jac=True, bounds=bounds, method="L-BFGS-B").x
    return confidence.Model(float(found[0]), dict(zip(names, found[1:].tolist(), strict=True)))


def _row(features: dict[str, float]) -> list[float]:
    return [features.get(name, 0.0) for name in confidence.RIGHT.coefficients]


def now(given: Sequence[Label], fitted: Fit, used: Calibration | None) -> Share:
    """What the calibration in use, or the shipped one, brings on the same labels."""
    said = np.array([calibration.right(one.features, used) for one in _judged(given)])
    return share(said, fitted.right, fitted.weights, calibration.least_of(used))


# --- keeping ----------------------------------------------------------------------------


def save(base: KnowledgeBase, fitted: Fit, target: float, user: Any) -> Calibration:
    """Put the fit to use, or let it wait for a gate that looks at it (`waiting`).

    Raises ValidationError when no threshold keeps the target, or a gate refuses it.
    """
    reached = fitted.reaching(target)
    if reached is None or reached.precision is None:
        raise ValidationError(unreachable(fitted, target))
    made = Calibration(
        knowledge_base=base,
        target=target,
        threshold=reached.threshold,
        intercept=fitted.model.intercept,
        coefficients=dict(fitted.model.coefficients),
        base_rate=fitted.base_rate,
        labels=len(fitted.right),
        precision=reached.precision,
        precision_low=reached.low,
        precision_high=reached.high,
        coverage=reached.coverage,
        by=user,
    )
    made.save()
    refusal = propose(base, made, user)
    if refusal and not refusal.waiting:
        raise ValidationError(refusal.reason)
    return made


def propose(base: KnowledgeBase, made: Calibration, user: Any) -> Refusal | None:
    """Put one to use if the gates let it; else it waits, or is not used."""
    overrides = {calibration.TRIED: made.pk}
    refusal = gates.ask(Change("threshold", made.pk, base.pk, user and user.pk, overrides))
    if refusal is None:
        use(base, made)
    elif refusal.waiting:
        Calibration.objects.filter(pk=made.pk).update(waiting=True)
        made.waiting = True
    return refusal


def use(base: KnowledgeBase, made: Calibration) -> None:
    """Put one to use that the gates let pass."""
    made.waiting = False
    _use(base, made)


def unreachable(fitted: Fit, target: float) -> str:
    best = max((one.precision or 0.0 for one in fitted.curve), default=0.0)
    said = _("No threshold keeps %(target).0f %% on these labels; the most any gives is %(most).0f %%.")  # fmt: skip  # noqa: E501
    return said % {"target": target * 100, "most": best * 100}


@transaction.atomic
def roll_back(base: KnowledgeBase, to: Calibration | None) -> None:
    """Use a calibration again that was in use, or the shipped model; what waits is not used.

    Raises ValidationError for one that never was: no gate is asked.
    """
    if to and not to.used_at:
        raise ValidationError(_("It was never in use."))
    _use(base, to)
    base.calibrations.filter(waiting=True).update(waiting=False)


@transaction.atomic
def _use(base: KnowledgeBase, chosen: Calibration | None) -> None:
    KnowledgeBase.objects.select_for_update().get(pk=base.pk)  # one choice after the other
    base.calibrations.filter(active=True).update(active=False)
    if chosen:
        chosen.active, chosen.waiting, chosen.used_at = True, False, timezone.now()
        chosen.save()
    KnowledgeBase.objects.filter(pk=base.pk).raise_version()

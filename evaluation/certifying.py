"""Certificates: were the goals reached, and all that says so, written down once for good.

A record holds every label that counts (`figures.Sheet`), so that the figures can be reckoned again
from it alone, to the last digit that it keeps. Records and files are signed with the secret key:
who changes one cannot sign it again.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext as _

from chat import configurations
from evaluation import estimating, figures, judges, labelling, progress, source
from evaluation.estimating import Estimate, Finding
from evaluation.figures import Figures, Sheet
from evaluation.models import Certificate, Goal, Sample
from knowledge import calibration
from knowledge.models import Calibration, EmbeddingIndex, KnowledgeBase

FORMAT = 1
DIGITS = 9  # that a record keeps of its figures
SALT = "evaluation.certificate"
SIGNATURE = 64  # letters: HMAC-SHA-256
# What a certificate holds against a goal, by their names among the figures.
CERTIFIED = ("accuracy", "recall")


@dataclass(frozen=True)
class Outcome:
    """A figure held against its goal."""

    figure: str
    goal: float
    estimate: Estimate
    finding: Finding
    needed: int | None  # labels that decide if the share is what it seems; None: no number does
    more: int | None  # of these still to be made


def goals() -> dict[str, float]:
    """What is to be reached, 0–1: as staff set it, else by the settings."""
    given = {goal.figure: goal.measured for goal in Goal.objects.filter(figure__in=CERTIFIED)}
    return {name: given.get(name, settings.GOALS[name]) for name in CERTIFIED}


def outcomes(made: Figures, wanted: Mapping[str, float]) -> list[Outcome]:
    return [_outcome(name, getattr(made, name), wanted[name]) for name in CERTIFIED]


def _outcome(name: str, estimate: Estimate, goal: float) -> Outcome:
    found = estimating.finding(estimate, goal)
    more = estimating.more(estimate, goal) if found == "open" else 0
    needed = estimate.n + more if more else None
    return Outcome(name, goal, estimate, found, needed, more)


def overall(found: Iterable[Outcome]) -> Finding:
    """Passed where every goal is reached, failed where one is missed for sure."""
    said = {one.finding for one in found}
    return "fail" if "fail" in said else "open" if "open" in said else "pass"


# --- issuing ------------------------------------------------------------------------------


def issue(sample: Sample, user: Any) -> Certificate:
    """Write down what a sample proves now. Raises PermissionDenied; ValidationError when nothing
    is labelled."""
    if not user.has_perm("evaluation.issue_certificate"):
        raise PermissionDenied
    record = record_of(sample, user)
    if not record["figures"]["settled"]:
        raise ValidationError(_("No item of this sample is settled yet: there is nothing to say."))
    with transaction.atomic():
        made = Certificate.objects.create(sample=sample, record={}, by=user)
        made.record = {**record, "number": made.pk}  # no other row can carry it as its own
        made.digest = digest(made.record)
        Certificate.objects.filter(pk=made.pk).update(record=made.record, digest=made.digest)
    return made


def number(certificate: Certificate) -> int:
    """As its record says; certificates of before do not."""
    return int(certificate.record.get("number", certificate.pk))


def record_of(sample: Sample, user: Any) -> dict[str, Any]:
    """All that a certificate rests on, as plain JSON."""
    settled = labelling.settled(sample)
    sheet = figures.sheet(sample, settled)
    wanted = goals()
    said = progress.of(sample)
    judged = judges.of(sample, settled)
    record = {
        "format": FORMAT,
        "issued": timezone.now().isoformat(timespec="seconds"),
        "by": user.get_username(),
        "sample": {
            "id": sample.pk,
            "name": sample.name,
            "design": sample.design,
            "frame": sample.frame,
            "axes": sample.axes,
            "k": sample.k,
            "population": sample.population,
            "excluded": sample.excluded,
            "size": sample.size,
            "seed": sample.seed,
            "drawn": sample.drawn_at.isoformat(timespec="seconds"),
        },
        "strata": [
            {"key": one.key, "population": one.population, "drawn": one.drawn}
            for one in sample.strata.order_by("pk")
        ],
        "raters": [
            {"name": one.name, "labels": one.labels, "decided": one.decided} for one in said.raters
        ],
        "versions": versions(sample),
        "bases": {str(pk): name for pk, name in KnowledgeBase.objects.values_list("pk", "name")},
        "goals": wanted,
        "sheet": sheet.to_json(),
        **reckoned(sheet, wanted),
        "judges": {
            "judge": judged.judge,
            **{
                name: plain(asdict(getattr(judged, name)))
                for name in ("faithfulness", "relevance", "redundancy")
                if getattr(judged, name).enough
            },
        },
    }
    return json.loads(written(record))  # type: ignore[no-any-return]


def reckoned(sheet: Sheet, wanted: Mapping[str, float]) -> dict[str, Any]:
    """What follows from the labels and the goals alone."""
    made = figures.reckon(sheet)
    found = outcomes(made, wanted)
    return {
        "figures": plain(asdict(made)),
        "outcomes": [plain(asdict(one)) for one in found],
        "finding": overall(found),
    }


def plain(value: Any) -> Any:
    """As JSON can hold it and as it is compared: so many digits, nothing infinite, no -0.0."""
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0 if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    return value


# --- what it was made with ----------------------------------------------------------------


def versions(sample: Sample) -> dict[str, Any]:
    """What answered the sampled questions, as their traces say, and what holds now."""
    asked: dict[str, Counter[str]] = {name: Counter() for name in ("models", "prompts")}
    used: Counter[str] = Counter()
    rows = sample.items.filter(turn__isnull=False)
    for prompts, configuration in rows.values_list(
        "turn__trace__prompts", "turn__trace__configuration"
    ):
        asking = prompts or []
        answering = [one for one in asking if str(one.get("prompt", "")).startswith("answer")]
        asked["models"][answering[0].get("model", "") if answering else ""] += 1
        for one in answering:
            asked["prompts"][f"{one['prompt']} {str(one.get('sha256', ''))[:12]}"] += 1
        told = configuration or {}
        used[f"{told.get('name', '')} {told.get('digest', '')}".strip()] += 1
    bases = {pk for found in rows.values_list("bases", flat=True) for pk in found}
    now = configurations.active()
    return {
        "code": source.code(),
        **{name: dict(counts) for name, counts in asked.items()},
        "configurations": dict(used),
        "configuration": f"{now} {now.digest}" if now else "",
        "bases": {
            f"{pk} {name}": version
            for pk, name, version in KnowledgeBase.objects.filter(pk__in=bases).values_list(
                "pk", "name", "version"
            )
        },
        "index": [
            f"{one.embedder} {one.model} #{one.pk}"
            for one in EmbeddingIndex.objects.filter(state=EmbeddingIndex.State.ACTIVE)
        ],
        "thresholds": {"": settings.ANSWER_CONFIDENCE}
        | {
            str(one.knowledge_base): one.threshold
            for one in Calibration.objects.select_related("knowledge_base").filter(
                active=True, knowledge_base__in=bases
            )
            if calibration.fits(one)
        },
    }


# --- checking -----------------------------------------------------------------------------


def written(record: Mapping[str, Any]) -> str:
    """The one way to write a record."""
    return json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest(record: Mapping[str, Any]) -> str:
    return _signature(written(record).encode())


def signed(body: bytes) -> bytes:
    """A file with its signature as its last letters, where its format lets them stand."""
    return body + _signature(body).encode()


def as_issued(file: bytes) -> bool:
    """Whether a file is what `signed` made, to the last byte."""
    signature = _signature(file[:-SIGNATURE]).encode()
    return constant_time_compare(signature, file[-SIGNATURE:])


def _signature(body: bytes) -> str:
    return salted_hmac(SALT, body, algorithm="sha256").hexdigest()


@dataclass(frozen=True)
class Check:
    untouched: bool  # the record bears its signature
    same: bool  # its figures come out again

    @property
    def good(self) -> bool:
        return self.untouched and self.same


def check(certificate: Certificate) -> Check:
    """Reckon a certificate again from its record alone, unless that was changed: then it may hold
    anything."""
    if not untouched(certificate):
        return Check(untouched=False, same=False)
    record = certificate.record
    again = reckoned(Sheet.of(record["sheet"]), record["goals"])
    same = all(again[name] == record[name] for name in again)
    return Check(untouched=True, same=same)


def untouched(certificate: Certificate) -> bool:
    return constant_time_compare(digest(certificate.record), certificate.digest)

"""Figures and certificates in words and tables, as pages, PDF and Word show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from evaluation import certifying, figures
from evaluation.charts import Chart, Series, shown
from evaluation.models import Certificate, Design
from evaluation.sampling import AXES, REASONS

LANGUAGES = ("zh-hans", "en")  # that a certificate is handed out in
NAMES = {
    "accuracy": gettext_lazy("accuracy: right answers among answers"),
    "recall": gettext_lazy("recall: relevant passages shown among those of the pool"),
    "refusal_precision": gettext_lazy("rightly refused among refusals"),
    "refusal_recall": gettext_lazy("refused among questions that should be"),
    "handoff_rate": gettext_lazy("handed to a person"),
    "faithfulness": gettext_lazy("sentences that passages support, as people say"),
}
SHORT = {
    "accuracy": gettext_lazy("accuracy"),
    "recall": gettext_lazy("recall"),
    "refusal_precision": gettext_lazy("refusal precision"),
    "refusal_recall": gettext_lazy("refusal recall"),
    "handoff_rate": gettext_lazy("handoff rate"),
    "faithfulness": gettext_lazy("faithfulness"),
}
JUDGED = {
    "faithfulness": gettext_lazy("sentences supported"),
    "relevance": gettext_lazy("passages shown that bear on the question"),
    "redundancy": gettext_lazy("sentences that say again what was said"),
}
METHODS = {
    "exact": gettext_lazy("exact binomial"),
    "stratified": gettext_lazy("weighted by stratum"),
    "bootstrap": gettext_lazy("drawn again by question"),
    "all": gettext_lazy("all are known"),
}
FINDINGS = {
    "pass": gettext_lazy("reached"),
    "fail": gettext_lazy("missed"),
    "open": gettext_lazy("not enough evidence"),
}


@dataclass(frozen=True)
class Section:
    """A table with a title; without a head its rows are facts of two cells."""

    title: str
    rows: list[list[str]] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    note: str = ""


Given = Mapping[str, Any]  # an Estimate or Agreement as `dataclasses.asdict` has it


def percent(value: float | None) -> str:
    return shown(value, "share")


def interval(estimate: Given) -> str:
    """ "" of nothing."""
    if estimate["value"] is None:
        return ""
    return f"{percent(estimate['low'])} – {percent(estimate['high'])}"


def table(made: Given, k: int | None = None) -> Section:
    """All figures with interval and n."""
    head = [_("figure"), _("estimate"), _("interval (95 %)"), "n", _("interval by")]
    rows = []
    for name, words in NAMES.items():
        one = made[name]
        at = f" (k = {k})" if name == "recall" and k else ""
        method = str(METHODS[one["method"]]) if one["value"] is not None else ""
        count = number_format(one["n"], force_grouping=True)
        rows.append([f"{words}{at}", percent(one["value"]), interval(one), count, method])
    return Section(_("Figures"), rows, head)


def chart(made: Given, title: str) -> Chart:
    """The figures that are known, each with its interval."""
    known = [name for name in SHORT if made[name]["value"] is not None]
    return Chart(
        title=title,
        labels=[str(SHORT[name]) for name in known],
        series=[
            Series(
                _("estimate"),
                [made[name]["value"] for name in known],
                [(made[name]["low"], made[name]["high"]) for name in known],
            )
        ],
        kind="bar",
        unit="share",
        first=_("figure"),
    )


def compared(parts: Sequence[figures.Part], title: str, first: str) -> Chart:
    """Accuracy and recall of parts of a sample."""
    return Chart(
        title=title,
        labels=[part.label for part in parts],
        series=[
            Series(
                str(SHORT[name]),
                [getattr(part.figures, name).value for part in parts],
                [
                    (one.low, one.high) if one.value is not None else None
                    for one in (getattr(part.figures, name) for part in parts)
                ],
            )
            for name in ("accuracy", "recall")
        ],
        kind="bar",
        unit="share",
        first=first,
    )


# --- against goals ------------------------------------------------------------------------


def against(outcomes: Sequence[Given], disputed: Mapping[str, int]) -> Section:
    """`disputed`: how many items are, by figure."""
    head = [
        _("goal"),
        _("estimate"),
        _("interval (95 %)"),
        "n",
        _("verdict"),
        _("what would decide"),
    ]
    rows = [
        [
            f"{SHORT[one['figure']]} ≥ {percent(one['goal'])}",
            percent(one["estimate"]["value"]),
            interval(one["estimate"]),
            number_format(one["estimate"]["n"], force_grouping=True),
            str(FINDINGS[one["finding"]]),
            deciding(one, disputed[one["figure"]]),
        ]
        for one in outcomes
    ]
    note = _("Reached: the whole interval is at or above the goal. Missed: all of it is below.")
    return Section(_("Goals"), rows, head, note)


def deciding(outcome: Given, disputed: int) -> str:
    """How many more labels would decide, and how many items are in dispute; "" where it is
    decided."""
    if outcome["finding"] != "open":
        return ""
    told = {"said": _lacking(outcome), "count": number_format(disputed, force_grouping=True)}
    return _("%(said)s; in dispute: %(count)s") % told if disputed else told["said"]


def _lacking(outcome: Given) -> str:
    if outcome["estimate"]["value"] is None:
        return _("labels: there is none yet")
    if outcome["more"] is None:
        return _("no number of labels: it lies on the goal")
    said = ngettext(
        "about %(more)s more label, %(needed)s in all, if %(value)s is true",
        "about %(more)s more labels, %(needed)s in all, if %(value)s is true",
        outcome["more"],
    )
    return said % {
        "more": number_format(outcome["more"], force_grouping=True),
        "needed": number_format(outcome["needed"], force_grouping=True),
        "value": percent(outcome["estimate"]["value"]),
    }


def agreed(agreement: Given) -> str:
    """κ with its interval, and how many of how many were alike."""
    if not agreement["n"]:
        return "–"
    alike = _("%(share)s of %(n)s alike") % {
        "share": percent(agreement["agreed"]),
        "n": number_format(agreement["n"], force_grouping=True),
    }
    if agreement["kappa"] is None:
        return alike
    kappa, low, high = (number_format(agreement[one], 2) for one in ("kappa", "low", "high"))
    around = f" ({low} – {high})" if agreement["low"] > -1 else ""
    return f"κ = {kappa}{around} · {alike}"


def judged(given: Given) -> Section | None:
    """What an automatic judge holds, beside its agreement with people; None where they have not
    said enough to tell."""
    known = [name for name in JUDGED if name in given]
    if not known:
        return None
    head = [_("figure"), _("estimate"), _("interval (95 %)"), _("agreement with people")]
    rows = [
        [
            str(JUDGED[name]),
            percent(given[name]["estimate"]["value"]),
            interval(given[name]["estimate"]),
            agreed(given[name]["agreement"]),
        ]
        for name in known
    ]
    return Section(_("Judged automatically, by %(judge)s") % {"judge": judge(given)}, rows, head)


def judge(given: Given) -> str:
    name = str(given["judge"])
    return _("words in common") if name.startswith("lexical") else name


# --- a certificate ------------------------------------------------------------------------


def claim(certificate: Certificate) -> str:
    """What it is about, in a line."""
    goals = _(", ").join(
        f"{SHORT[one['figure']]} ≥ {percent(one['goal'])}" for one in certificate.record["outcomes"]
    )
    return f"{goals} · {certificate.record['sample']['name']}"


def sections(certificate: Certificate) -> list[Section]:
    """All a certificate says."""
    record = certificate.record
    parts = [
        against(record["outcomes"], figures.disputes(figures.Sheet.of(record["sheet"]))),
        table(record["figures"], record["sample"]["k"]),
        judged(record["judges"]),
        _sample(record),
        _strata(record),
        _raters(record),
        _versions(record),
        _check(certificate),
    ]
    return [part for part in parts if part]


def moment(text: str) -> str:
    return date_format(timezone.localtime(datetime.fromisoformat(text)), "SHORT_DATETIME_FORMAT")


def _sample(record: Given) -> Section:
    drawn, frame = record["sample"], record["sample"]["frame"]
    axes = _(", ").join(str(AXES.get(axis, axis)) for axis in drawn["axes"])
    left_out = _(", ").join(
        f"{REASONS.get(reason, reason)} {count}" for reason, count in drawn["excluded"].items()
    )
    bases = _(", ").join(record["bases"].get(str(pk), f"#{pk}") for pk in frame.get("bases", ()))
    rows = [
        [_("sample"), f"{drawn['name']} (#{drawn['id']})"],
        [_("drawn from questions of"), f"{moment(frame['from'])} – {moment(frame['to'])}"],
        [_("knowledge bases"), bases or _("all")],
        [_("design"), " · ".join(filter(None, [str(Design(drawn["design"]).label), axes]))],
        [_("questions that count"), number_format(drawn["population"], force_grouping=True)],
        [_("left out"), left_out or "–"],
        [_("items drawn"), number_format(drawn["size"], force_grouping=True)],
        [_("seed"), str(drawn["seed"])],
        [_("drawn on"), moment(drawn["drawn"])],
    ]
    return Section(_("Sampling"), rows)


def _strata(record: Given) -> Section | None:
    if len(record["strata"]) < 2:
        return None
    named = figures.stratum_names(lambda pk: record["bases"].get(str(pk), f"#{pk}"))
    rows = [
        [
            named(one["key"]),
            number_format(one["population"], force_grouping=True),
            number_format(one["drawn"], force_grouping=True),
        ]
        for one in record["strata"]
    ]
    return Section(_("Strata"), rows, [_("stratum"), _("questions"), _("items")])


def _raters(record: Given) -> Section:
    made = record["figures"]
    rows = [[one["name"], str(one["labels"]), str(one["decided"])] for one in record["raters"]]
    head = [_("rater"), _("labels"), _("decided")]
    return Section(_("Labels"), rows, head, labelled(made))


def labelled(made: Given) -> str:
    """How far labels go, in sentences."""
    said = [
        _("%(settled)s of %(items)s items settled, %(disputed)s in dispute.") % made,
        _("Agreement of raters: %(said)s.") % {"said": agreed(made["agreement"])},
        _("Their errors are corrected by those who decide.")
        if made["corrected"]
        else _("One rater labelled each item: their errors are not corrected."),
    ]
    if made["disputed"]:
        said.append(_("What is in dispute may be anything: it widens the intervals."))
    return " ".join(said)


def _versions(record: Given) -> Section:
    made = record["versions"]

    def counted(given: Mapping[str, int], nothing: str) -> str:
        return _(", ").join(f"{name or nothing} ({count})" for name, count in given.items()) or "–"

    thresholds = made["thresholds"]
    rows = [
        [_("code"), made["code"]],
        [_("models that answered"), counted(made["models"], _("none"))],
        [_("prompts"), counted(made["prompts"], "–")],
        [
            _("configurations"),
            counted(made["configurations"], _("settings of the environment")),
        ],
        [_("configuration now"), made["configuration"] or _("settings of the environment")],
        [
            _("knowledge bases"),
            _(", ").join(
                f"{name.partition(' ')[2]} v{version}" for name, version in made["bases"].items()
            )
            or "–",
        ],
        [_("vectors"), _(", ").join(made["index"]) or _("none: words alone")],
        [
            _("answers from a confidence of"),
            _(", ").join(
                f"{base} {least:.2f}".strip() for base, least in sorted(thresholds.items())
            ),
        ],
    ]  # fmt: skip
    return Section(_("Versions"), rows)


def _check(certificate: Certificate) -> Section:
    rows = [
        [_("signature of the record"), certificate.digest],
        [_("reckon again"), f"manage.py check_certificate {certifying.number(certificate)}"],
        [_("whether a file was changed"), "manage.py check_certificate FILE"],
    ]
    note = _("The record holds every label that counts: the figures come out of it again.")
    return Section(_("Check"), rows, note=note)

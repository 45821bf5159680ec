"""Fitting the shipped confidence to question sets."""

import json
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from evaluation import sureness
from evaluation.sureness import Case, Cases
from knowledge import confidence
from tests.evaluation.test_evaluate import CORPUS, QUESTIONS, lines


def a_set(name, strengths, documents=()):
    """Questions of this strength of the best passage; those above 1 are answered by it."""
    usual = {"coverage": 0.5, "names": 1.0, "length": 2.0, "share": 0.5}
    rows = [Case({"strength": one, **usual}, *[one > 1] * 4) for one in strengths]
    return Cases(name, frozenset(documents or {name}), rows)


def test_a_fit_tells_a_set_that_it_has_not_seen():
    seen = a_set("seen", np.linspace(0, 2, 40))
    unseen = a_set("unseen", np.linspace(0.3, 1.9, 20))
    model = sureness.fit([seen])
    figures = sureness.measured(model, sureness.fit_right([seen], model), unseen)
    assert figures["auroc"] == 1.0
    assert 0 <= figures["brier"] < 0.25
    assert 0 <= figures["ece"] <= 1
    coverages = [row["coverage"] for row in figures["thresholds"]]
    assert coverages == sorted(coverages, reverse=True)
    assert model.coefficients["strength"] > 0
    assert model.coefficients["small"] == confidence.SHIPPED.coefficients["small"]


def test_the_share_tells_whether_a_right_one_is_shown():
    rows = [
        Case({"strength": 1.5, "share": share}, True, False, True, share + noise > 0.5)
        for share in np.linspace(0, 1, 40)
        for noise in (-0.1, 0.1)
    ]
    seen = Cases("seen", frozenset("x"), rows)
    held = confidence.SHIPPED
    right = sureness.fit_right([seen], held)
    assert right.coefficients["share"] > 5
    assert {**right.coefficients, "share": 0.0} == held.coefficients
    said = [right.probability(row.features) for row in rows]
    assert np.mean(said) == pytest.approx(np.mean([row.shown for row in rows]), abs=0.01)


def test_each_set_weighs_the_same():
    few, many = a_set("few", [0.1, 1.9]), a_set("many", [*[0.1] * 99, *[1.9]])
    once, often = sureness.fit([few]), sureness.fit([few, many])
    assert often.intercept == pytest.approx(once.intercept, abs=0.05)


def test_a_set_is_left_out_with_those_that_share_its_documents():
    one, part, other = a_set("a", [1], {"x", "y"}), a_set("b", [1], {"y"}), a_set("c", [1], {"z"})
    assert sureness.without([one, part, other], one) == [other]
    assert sureness.without([one, part, other], other) == [one, part]


@pytest.mark.django_db(transaction=True)
def test_the_command_measures_and_fits(tmp_path, settings):
    settings.MEDIA_ROOT = tmp_path / "files"
    for name, answerable in (("one", True), ("two", False)):
        folder = tmp_path / name
        folder.mkdir()
        about = {"about": "", "corpus": ["corpus.jsonl"], "questions": "questions.jsonl"}
        (folder / "set.json").write_text(json.dumps(about), "utf-8")
        corpus = [{**row, "id": f"{name}-{row['id']}"} for row in CORPUS]
        asked = [
            {**row, "gold": [f"{name}-{one}" for one in row["gold"]]}
            for row in QUESTIONS
            if row["answerable"] or not answerable  # the first is halved
        ]
        (folder / "corpus.jsonl").write_text(lines(corpus), "utf-8")
        (folder / "questions.jsonl").write_text(lines(asked), "utf-8")
    said, file = StringIO(), tmp_path / "figures.json"
    folders = [str(tmp_path / "one"), str(tmp_path / "two")]
    call_command("fit_confidence", *folders, "--json", str(file), stdout=said)
    made = json.loads(file.read_text("utf-8"))
    assert made["left_out"].keys() == made["shipped"].keys() == {"one", "two"}
    assert made["shipped"]["two"]["auroc"] == 1.0
    assert made["shipped"]["one"]["questions"] == 2
    assert "Fitted to all" in said.getvalue()
    with pytest.raises(CommandError):
        call_command("fit_confidence", str(tmp_path))

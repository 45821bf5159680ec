"""Intervals hold the truth of a simulated month, and certificates are right, as often as they say.

`manage.py simulate_month` does the same a thousand times (docs/evaluation.md).
"""

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from evaluation import simulation
from evaluation.simulation import FIGURES, Raters

REPETITIONS = 100
# A true .95 gives fewer of 100 once in some hundred times; the seed is always the same.
COVERED = 0.89


@pytest.fixture(scope="module")
def month():
    return simulation.generated(np.random.default_rng(3), 0.92, turns=6000)


@pytest.mark.parametrize("place", range(3))
def test_intervals_hold_the_truth(month, place):
    design = simulation.designs(month, 300)[place].run(REPETITIONS, 3)
    shares = {name: design.figures[name].share for name in FIGURES}
    assert min(shares.values()) >= COVERED, shares
    assert abs(design.figures["recall known"].bias) <= 0.05


def test_what_is_reckoned_wrongly_does_not_hold_it(month):
    """The bound can fail: raters whose errors nobody corrects are not the truth."""
    careless = Raters(verdict=0.12, double=0.0)
    design = simulation.Repeated("alone", month, 300, raters=careless).run(40, 3)
    assert design.figures["accuracy"].share < 0.5


def test_certificates_are_right_as_often_as_they_claim():
    said = {
        true: simulation.verdicts(true, 400, 0.9, Raters(), REPETITIONS, 3)
        for true in (0.86, 0.90, 0.96)
    }
    assert said[0.86].failed > 0.6
    assert said[0.96].passed > 0.85
    assert max(one.wrong(0.9) for one in said.values()) <= 0.06
    assert said[0.90].open > 0.9


def test_the_command_writes_tables_and_fails_when_the_truth_is_missed(capsys, monkeypatch):
    monkeypatch.delenv("OPSDESK_DATA", raising=False)
    monkeypatch.setattr(simulation, "designs", lambda month, size: [])
    call_command("simulate_month", repetitions=20, size=200)
    assert "| 0.93 |" in capsys.readouterr().out
    alone = [simulation.Repeated("alone", simulation.generated(np.random.default_rng(1), 0.9, 4000), 300, raters=Raters(verdict=0.2, double=0))]  # fmt: skip  # noqa: E501
    monkeypatch.setattr(simulation, "designs", lambda month, size: alone)
    with pytest.raises(CommandError, match="alone: accuracy"):
        call_command("simulate_month", repetitions=20, size=200)

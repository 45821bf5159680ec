"""Fitting how sure a base must be to labels, putting that to use, and taking it back."""

import random
from datetime import timedelta

import numpy as np
import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from knowledge import calibrating, calibration, confidence, retrieval
from knowledge.calibrating import Label
from knowledge.models import Calibration, Role
from tests.knowledge import documents

pytestmark = pytest.mark.django_db
NAMES = list(confidence.RIGHT.coefficients)


def label(strength, right, coverage=0.8):
    features = dict.fromkeys(NAMES, 0.0) | {
        "strength": strength, "coverage": coverage, "names": 1.0, "length": 2.0, "share": 0.9,
    }  # fmt: skip
    return Label("怎么办", features, right, timezone.now())


def judged(count, noise=0.04, seed=3):
    """The stronger the passage, the more often it is right."""
    chance = random.Random(seed)
    strengths = [chance.uniform(0, 2) for _ in range(count)]
    return [label(one, (one > 1) != (chance.random() < noise)) for one in strengths]


GIVEN: list[Label] = []


def kept(base):
    return GIVEN


@pytest.fixture
def given_labels(settings):
    settings.LABELS = ["tests.knowledge.test_calibrating.kept"]
    GIVEN.clear()
    yield GIVEN
    GIVEN.clear()


@pytest.fixture
def base():
    made = documents.base()
    documents.put(made, "重启 nginx 服务：systemctl restart nginx")
    return made


# --- fitting ----------------------------------------------------------------------------


def test_without_labels_the_fit_is_the_shipped_model():
    made = calibrating.refit(np.empty((0, len(NAMES))), np.empty(0, bool), np.empty(0))
    assert made.intercept == pytest.approx(confidence.RIGHT.intercept)
    assert made.coefficients == pytest.approx(dict(confidence.RIGHT.coefficients))


shares = st.lists(st.floats(0, 1), min_size=len(NAMES), max_size=len(NAMES))


@hypothesis_settings(max_examples=30)
@given(st.lists(st.tuples(shares, st.booleans()), min_size=1, max_size=40), shares)
def test_whatever_was_said_more_found_never_makes_less_sure(rows, features):
    table, right = np.array([row for row, _ in rows]), np.array([right for _, right in rows])
    made = calibrating.refit(table, right, np.ones(len(rows)))
    before = dict(zip(NAMES, features, strict=True))
    for name in calibrating.RISING:
        after = made.probability({**before, name: before[name] + 0.5})
        assert 0 <= made.probability(before) <= after <= 1


def test_more_labels_move_it_further():
    def moved(count):
        rows = [label(0.2, True) for _ in range(count)]
        table = np.array([[row.features[name] for name in NAMES] for row in rows])
        made = calibrating.refit(table, np.ones(count, bool), np.ones(count))
        return made.probability(rows[0].features)

    shipped = confidence.RIGHT.probability(label(0.2, True).features)
    assert shipped < moved(1) < moved(10) < moved(100) < 1


def test_it_keeps_the_target_on_labels_left_out():
    fitted = calibrating.fit(judged(200))
    loose, strict = fitted.reaching(0.7), fitted.reaching(0.9)
    assert loose.threshold < strict.threshold
    assert loose.coverage > strict.coverage > 0.2
    assert strict.low < 0.9 <= strict.precision < strict.high
    assert fitted.reaching(0.99) is None
    assert "99" in calibrating.unreachable(fitted, 0.99)


def test_judging_more_of_the_wrong_ones_does_not_move_the_base_rate():
    """Staff who judge only what looks doubtful: each label counts for what it stands for."""
    labels = judged(400, noise=0.0)
    sure = [one for one in labels if one.features["strength"] > 1]
    unsure = [one for one in labels if one.features["strength"] <= 1]
    hidden = [label(one.features["strength"], None) for one in sure[20:]]
    fitted = calibrating.fit([*unsure, *sure[:20], *hidden])
    true = len(sure) / len(labels)
    plain = 20 / (20 + len(unsure))
    assert abs(fitted.base_rate - true) < 0.1 < true - plain


def test_too_few_or_only_one_kind_of_label_is_said():
    assert "18" in calibrating.lacking(judged(12))
    assert "5" in calibrating.lacking([label(1, True)] * 40)
    assert "3" in calibrating.lacking([label(1, True)] * 2 + [label(0, False)] * 40)
    assert calibrating.lacking([label(1, None)] * 100) != ""
    assert calibrating.lacking(judged(40)) == ""
    with pytest.raises(ValidationError):
        calibrating.fit(judged(12))


# --- in use -----------------------------------------------------------------------------


def test_a_search_asks_the_calibration_in_use(base, settings):
    query = "重启 nginx"
    shipped = retrieval.search(query, [base])
    assert (shipped.threshold, shipped.least) == (settings.CONFIDENCE, settings.ANSWER_CONFIDENCE)
    assert not shipped.calibrated
    version = base.version
    first = calibrating.save(base, calibrating.fit(judged(80)), 0.7, None)
    own = retrieval.search(query, [base])
    assert own.least == first.threshold != shipped.least
    assert own.right != shipped.right
    assert own.calibrated
    # Whether the base holds it at all is not what staff judge answers by.
    assert (own.confidence, own.threshold) == (shipped.confidence, shipped.threshold)
    base.refresh_from_db()
    assert base.version > version

    second = calibrating.save(base, calibrating.fit(judged(90, seed=5)), 0.9, None)
    assert calibration.in_use(base) == second
    calibrating.roll_back(base, first)
    assert retrieval.search(query, [base]).right == own.right
    calibrating.roll_back(base, None)
    assert retrieval.search(query, [base]).right == shipped.right
    assert base.calibrations.count() == 2  # kept


def test_bases_asked_together_take_the_strictest(base, settings):
    other = documents.base("other")
    calibrating.save(base, calibrating.fit(judged(80)), 0.9, None)
    strict = calibration.in_use(base).threshold
    settings.ANSWER_CONFIDENCE = 0.01
    assert retrieval.search("nginx", [base, other]).least == strict
    settings.ANSWER_CONFIDENCE = 0.99
    assert retrieval.search("nginx", [base, other]).least == 0.99


def test_what_staff_chose_for_a_base_holds_where_another_has_the_best_passage(base):
    other = documents.base("other")
    documents.put(other, "堡垒机密码过期后联系管理员")
    calibrating.save(base, calibrating.fit(judged(80)), 0.9, None)
    found = retrieval.search("堡垒机密码过期", [base, other])
    assert found.passages[0].knowledge_base_id == other.pk
    assert found.calibrated
    assert not found.own
    assert not retrieval.search("堡垒机密码过期", [other]).calibrated


@pytest.mark.parametrize("least", [0.0, 0.01])
def test_however_little_it_takes_what_no_base_seems_to_hold_is_not_sure(base, settings, least):
    settings.ANSWER_CONFIDENCE, settings.CONFIDENCE = least, 1.0
    found = retrieval.search("重启 nginx", [base])
    assert found.passages
    assert not found.sure
    found.vouched()
    assert found.sure


def test_what_a_base_seems_not_to_hold_is_never_right_by_the_shipped_models(base, settings):
    settings.ANSWER_CONFIDENCE = 0.01
    settings.CONFIDENCE = 0.0
    assert retrieval.search("重启 nginx", [base]).sure
    settings.CONFIDENCE = 1.0
    found = retrieval.search("重启 nginx", [base])
    assert found.right == 0
    assert not (found.sure or found.near)
    calibrating.save(base, calibrating.fit(judged(80)), 0.7, None)
    assert retrieval.search("重启 nginx", [base]).right > 0  # by labels it may be, nevertheless


def test_labels_of_a_version_that_looked_at_less_are_left_out(base, given_labels):
    given_labels += [label(1.5, True), Label("怎么办", {"strength": 1.5}, True, timezone.now())]
    assert len(calibrating.labels(base)) == 1
    assert calibrating.older(base) == 1


def test_a_calibration_of_other_features_is_left_alone(base, given_labels, admin_client):
    made = calibrating.save(base, calibrating.fit(judged(80)), 0.7, None)
    Calibration.objects.update(coefficients={"gone": 1.0})
    assert calibration.in_use(base) is None
    assert not retrieval.search("重启 nginx", [base]).calibrated
    made.refresh_from_db()
    assert not calibration.fits(made)
    given_labels += [Label("怎么办", {"strength": 1.5}, True, timezone.now())]
    shown = admin_client.get(page(base)).content.decode()
    assert 'id="older"' in shown
    assert "fits this version no more" in shown or "不再适用" in shown
    assert 'name="use"' not in shown


# --- the page ---------------------------------------------------------------------------


def page(base, name="sureness"):
    return reverse(f"admin:knowledge_knowledgebase_{name}", args=[base.pk])


def curator(base, kind):
    user = User.objects.create_user(kind, password="x", is_staff=True)
    group = Group.objects.create(name=kind)
    user.groups.add(group)
    Role.objects.create(knowledge_base=base, group=group, kind=kind)
    return user


def test_without_labels_the_page_says_what_the_shipped_one_does(admin_client, base, given_labels):
    shown = admin_client.get(page(base))
    assert shown.status_code == 200
    assert shown.context["lacking"]
    assert 'id="expected"' in shown.content.decode()
    refused = admin_client.post(page(base, "calibrate"), {"target": 90}, follow=True)
    assert "30" in str(next(iter(refused.context["messages"])))
    assert not base.calibrations.exists()


def test_a_curator_sees_what_it_costs_before_saving_and_takes_it_back(client, base, given_labels):
    given_labels += judged(150)
    client.force_login(curator(base, Role.Kind.CURATOR))
    seen = client.get(page(base), {"target": 80})
    then = seen.context["then"]
    assert then.precision >= 0.8
    assert not base.calibrations.exists()
    assert client.get(page(base), {"target": 99}).context["unreachable"]
    assert client.get(page(base), {"target": "x"}).status_code == 200

    client.post(page(base, "calibrate"), {"target": 80})
    made = calibration.in_use(base)
    assert (made.threshold, made.coverage, made.labels) == (then.threshold, then.coverage, 150)
    assert made.by.username == Role.Kind.CURATOR
    now = client.get(page(base)).context["now"]
    assert now.threshold == made.threshold

    client.post(page(base, "calibrate"), {"use": "0"})
    assert calibration.in_use(base) is None
    client.post(page(base, "calibrate"), {"use": made.pk})
    assert calibration.in_use(base) == made
    assert client.post(page(base, "calibrate"), {"use": "9999"}).status_code == 404
    for wrong in ({"target": "200"}, {"target": ""}, {"target": "99"}, {}):
        client.post(page(base, "calibrate"), wrong)
    assert base.calibrations.count() == 1


def test_a_viewer_sees_but_does_not_choose(client, base, given_labels):
    given_labels += judged(60)
    client.force_login(curator(base, Role.Kind.VIEWER))
    assert client.get(page(base)).status_code == 200
    assert client.post(page(base, "calibrate"), {"target": 80}).status_code == 403
    assert client.get(page(documents.base("other"))).status_code == 403
    client.force_login(curator(base, Role.Kind.CURATOR))
    assert client.get(page(base, "calibrate")).status_code == 405


# --- on labels held out -----------------------------------------------------------------


def over_time(count, right_at, weight=1.0):
    """Labels an hour apart, the later the higher their number; `right_at(n, strength)`."""
    chance = random.Random(8)
    start = timezone.now() - timedelta(hours=count)
    made = []
    for n in range(count):
        strength = chance.uniform(0, 2)
        one = label(strength, right_at(n, strength))
        at = start + timedelta(hours=n)
        made.append(Label(one.question, one.features, one.right, at, weight))
    return made


def test_what_would_be_is_tried_on_labels_that_chose_nothing():
    # What was learned early does not hold any more: only the latest labels tell.
    changed = over_time(400, lambda n, strength: strength > 1 and n < 280)
    tried = calibrating.trial(changed, 0.9, None)
    assert (tried.labels, tried.latest, tried.fresh) == (120, True, True)
    assert tried.then.coverage > 0.2
    assert tried.then.precision == 0
    steady = calibrating.trial(over_time(400, lambda n, strength: strength > 1), 0.9, None)
    assert steady.then.precision > 0.85
    few = calibrating.trial(over_time(60, lambda n, strength: strength > 1), 0.9, None)
    assert (few.labels, few.latest) == (60, False)


def test_labels_of_a_sample_count_for_what_they_were_drawn_for():
    common = over_time(60, lambda n, strength: True, weight=9.0)
    rare = [Label(one.question, one.features, False, one.at) for one in common]
    fitted = calibrating.fit([*common, *rare])
    assert fitted.base_rate == pytest.approx(0.9, abs=0.02)

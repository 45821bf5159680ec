"""Figures of labelled samples, certificates that are issued, checked and handed out, and judges."""

import hashlib
import io
from dataclasses import asdict
from datetime import timedelta

import docx
import pypdfium2
import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone, translation

from chat.exports.pdf import ExportError
from chat.models import Turn
from chat.state import TurnState
from evaluation import (
    certifying,
    estimating,
    exports,
    figures,
    judges,
    labelling,
    pooling,
    source,
    wording,
)
from evaluation.figures import Row, Sheet
from evaluation.judges import Answer
from evaluation.models import Certificate, Goal, JudgedItem, Sample
from tests.evaluation import drawn
from tests.knowledge import documents

pytestmark = pytest.mark.django_db


@pytest.fixture
def sample(django_user_model):
    """Eight answers and four refusals, two raters, all settled: 6 right, 1 partly, 1 wrong."""
    base = documents.base()
    documents.put(base, "磁盘满了先执行 `df -h`，再清理日志。")
    for n in range(8):
        drawn.turn(base, text=f"磁盘满了怎么办 {n}", topic="磁盘" if n < 4 else "日志")
    for _ in range(4):
        drawn.turn(base, Turn.Outcome.HANDOFF, sure=0.2)
    ann, bob = (drawn.staff(name) for name in ("ann", "bob"))
    made = drawn.draw(ann, 12, axes=("outcome",))
    for user in (ann, bob):
        answers = iter(["right"] * 6 + ["partly", "wrong"])
        refusals = iter(["refused"] * 3 + ["missed"])
        for item in made.items.order_by("position"):
            kind = next(answers if item.answered else refusals)
            second = frozenset({2} if kind == "wrong" else ())
            drawn.label(made, user, kind, unsupported=second, repeated=second)
    return made


def issuer(user, *more):
    names = {"view_sample", "view_certificate", "issue_certificate", *more}
    user.user_permissions.add(*Permission.objects.filter(codename__in=names))
    return type(user).objects.get(pk=user.pk)


# --- figures ------------------------------------------------------------------------------


def test_figures_come_from_the_labels_of_a_sample(sample):
    made = figures.of(sample)
    assert made.accuracy.value == 6 / 8  # partly counts as wrong
    assert made.refusal_precision.value == 3 / 4
    assert made.refusal_recall.value == 1
    assert (made.handoff_rate.value, made.handoff_rate.method) == (4 / 12, "all")
    assert made.faithfulness.value == 15 / 16
    assert (made.agreement.kappa, made.agreement.n) == (1, 12)
    assert (made.items, made.settled, made.disputed, made.corrected) == (12, 12, 0, True)
    # All turns are labelled: nothing is left to chance.
    assert (made.accuracy.method, made.accuracy.low) == ("all", 0.75)
    assert made.recall.value == 1  # the one passage was shown wherever it answers


def test_figures_are_kept_until_another_label_comes(sample, django_assert_max_num_queries):
    figures.of(sample)
    with django_assert_max_num_queries(4):
        figures.of(sample)
    label = sample.items.get(kind="wrong").labels.order_by("pk").last()
    labelling.undo(label)
    assert figures.of(sample).settled == 11


def test_figures_are_reckoned_anew_when_a_conversation_goes_or_the_code(base, ann, monkeypatch):
    turns = [drawn.turn(base) for _n in range(20)]
    made = drawn.draw(ann, 10, raters=1)
    drawn.label(made, ann, "right")
    before = figures.of(made)
    for turn in turns:
        if not turn.sampled.filter(kind="right").exists():
            turn.conversation.delete()
    after = figures.of(made)
    assert after.accuracy.low < before.accuracy.low
    monkeypatch.setattr(figures, "reckon", lambda sheet: "anew")
    assert figures.of(made) == after
    monkeypatch.setattr(source, "code", lambda: "another")
    assert figures.of(made) == "anew"


def test_figures_are_told_apart(sample):
    by_topic = {part.label: part.figures for part in figures.by(sample, "topic")}
    assert set(by_topic) == {"磁盘", "日志"}
    assert sum(one.items for one in by_topic.values()) == 8
    for axis in figures.AXES:
        for part in figures.by(sample, axis):
            assert part.label
            assert part.figures.items
    assert len(figures.by(sample, "stratum")) == 2
    assert figures.by(sample, "model") == []  # no model answered


def test_what_is_in_dispute_may_be_anything():
    settled = [Row(0, True, "right", ("right", "right"))] * 60
    open_ = [Row(0, True, "", ("right", "wrong"), open=True)] * 20
    sure = figures.reckon(Sheet(tuple(settled), (1000,), 2, 1)).accuracy
    less = figures.reckon(Sheet(tuple(settled + open_), (1000,), 2, 1)).accuracy
    assert less.value == sure.value == 1
    assert less.low == pytest.approx(sure.low * 0.75)
    # A stratum without a label too, as large as it is.
    strange = [*settled, Row(1, True)]
    assert figures.reckon(Sheet(tuple(strange), (1000, 1000), 2, 1)).accuracy.low < 0.5


def test_what_is_in_dispute_is_told_beside_the_labels_that_are_missing():
    """Passages in dispute decide nothing of accuracy, and what was deleted nobody decides."""
    right = [Row(0, True, "right", ("right", "right"), found=1, relevant=1)] * 10
    pools = [Row(0, True, "right", ("right", "right"), open_pool=True)] * 90
    gone = [Row(0, True, open=True, gone=True)] * 2
    rows = Sheet((*right, *pools, *gone), (1000,), 2, 1)
    made = figures.reckon(rows)
    assert made.disputed == 90
    assert figures.disputes(rows) == {"accuracy": 0, "recall": 90}
    estimate = asdict(estimating.exact(9, 10))
    outcome = {"figure": "accuracy", "estimate": estimate, "finding": "open", "goal": 0.8}
    with translation.override("en"):
        said = [wording.deciding({**outcome, "more": 52, "needed": 62}, n) for n in (0, 90)]
        parts = wording.against([{**outcome, "more": 52, "needed": 62}], figures.disputes(rows))
    assert said[0].startswith("about 52 more labels, 62 in all")
    assert said[1] == f"{said[0]}; in dispute: 90"
    assert parts.rows[0][-1] == said[0]


def test_a_deleted_conversation_is_not_in_dispute(base, ann):
    turn = drawn.turn(base)
    drawn.turn(base)
    made = drawn.draw(ann, 2)
    turn.conversation.delete()
    rows = figures.sheet(made)
    assert sorted(row.gone for row in rows.rows) == [False, True]
    assert figures.reckon(rows).disputed == 0
    assert Sheet.of(rows.to_json()) == rows


def test_sentences_count_for_the_answers_of_their_stratum():
    """Of two bases of 100 questions one answers all, the other one in five, always unsupported."""
    said = {"kind": "right", "said": ("right", "right")}
    refused = {"kind": "refused", "said": ("refused", "refused")}
    rows = [Row(0, True, supported=1, sentences=1, **said)] * 10
    rows += [Row(1, True, sentences=1, **said)] * 2 + [Row(1, False, **refused)] * 8
    sheet = Sheet(tuple(rows), (100, 100), 2, 1)
    assert figures.reckon(sheet).faithfulness.value == pytest.approx(100 / 120)
    # A sentence in dispute may be anything.
    rows[0] = Row(0, True, open_sentences=1, **said)
    open_ = figures.reckon(Sheet(tuple(rows), (100, 100), 2, 1)).faithfulness
    assert open_.value == pytest.approx(90 / 110)
    assert open_.low < figures.reckon(sheet).faithfulness.low < 100 / 120 < open_.high


def test_a_month_that_is_labelled_to_the_last_question_is_known():
    rows = (Row(0, True, "right", ("right", "right")),) * 9 + (Row(0, True, "wrong"),)
    made = figures.reckon(Sheet(rows, (10,), 2, 1)).accuracy
    assert (made.method, made.low, made.high) == ("all", 0.9, 0.9)
    assert figures.reckon(Sheet(rows, (11,), 2, 1)).accuracy.method == "exact"


def test_the_latest_figures_are_of_a_sample_of_all_traffic(sample, monkeypatch):
    assert figures.latest()["sample"] is None
    monkeypatch.setattr(figures, "FEWEST", 10)
    found = figures.latest()
    assert (found["sample"], found["accuracy"].value) == (sample, 0.75)


def test_a_sample_of_one_configuration_does_not_speak_for_all_traffic(sample, monkeypatch):
    monkeypatch.setattr(figures, "FEWEST", 10)
    Sample.objects.update(frame={**sample.frame, "configuration": "7"})
    assert figures.latest()["sample"] is None


def test_a_model_and_its_prompt_are_told_apart(django_user_model):
    base = documents.base()
    documents.put(base, "磁盘满了先执行 `df -h`，再清理日志。")
    state = TurnState("磁盘满了怎么办", [base])
    state.used("answer.system", "0123456789abcdef", "qwen", 10, 5, 3.0)
    drawn.turn(base, **state.trace)
    made = drawn.draw(drawn.staff("ann"), 1)
    assert [part.label for part in figures.by(made, "prompt")] == ["0123456789ab"]
    assert certifying.versions(made)["prompts"] == {"answer.system 0123456789ab": 1}


def test_strata_without_items_may_be_anything():
    """Samples of before, and the strata whose outcome is known."""
    rows = tuple([Row(0, True, "right", ("right", "right"))] * 60)
    sure = figures.reckon(Sheet(rows, (1000,), 2, 1)).accuracy
    less = figures.reckon(Sheet(rows, (1000, 1000), 2, 1))
    assert less.accuracy.low == pytest.approx(sure.low / 2)
    assert less.handoff_rate.high > 0.5
    known = figures.reckon(Sheet(rows, (1000, 1000), 2, 1, parted=True, handed=(False, True)))
    assert known.handoff_rate.value == 0.5
    sheet = Sheet(rows, (1000, 1000), 2, 1, parted=True, handed=(False, True))
    assert Sheet.of(sheet.to_json()) == sheet
    before = {name: value for name, value in sheet.to_json().items() if name != "handed"}
    assert Sheet.of(before).handed == ()


# --- certificates -------------------------------------------------------------------------


def test_nothing_is_written_as_minus_nothing():
    assert certifying.written(certifying.plain({"kappa": -0.0})) == '{"kappa":0.0}'


def test_a_certificate_comes_out_of_its_record_again(sample, capsys):
    user = issuer(drawn.staff("boss"))
    made = certifying.issue(sample, user)
    kept = Certificate.objects.get(pk=made.pk)
    assert certifying.check(kept).good
    assert kept.record["finding"] == "fail"
    said = {one["figure"]: one for one in kept.record["outcomes"]}
    assert (said["accuracy"]["goal"], said["accuracy"]["finding"]) == (0.9, "fail")
    assert (said["recall"]["goal"], said["recall"]["finding"]) == (0.7, "pass")
    assert [one["name"] for one in kept.record["raters"]] == ["ann", "bob"]
    versions = kept.record["versions"]
    assert versions["code"] == source.code()
    assert len(versions["bases"]) == 1
    call_command("check_certificate", kept.pk)
    # Labels that come later, and a sample that goes, change nothing of it.
    sample.delete()
    kept.refresh_from_db()
    assert certifying.check(kept).good
    # Who touches it is found out.
    record = {**kept.record, "finding": "pass"}
    Certificate.objects.filter(pk=kept.pk).update(record=record)
    kept.refresh_from_db()
    assert not certifying.check(kept).untouched
    with pytest.raises(CommandError):
        call_command("check_certificate", kept.pk)
    plain = hashlib.sha256(certifying.written(record).encode()).hexdigest()
    Certificate.objects.filter(pk=kept.pk).update(digest=plain)
    kept.refresh_from_db()
    assert not certifying.check(kept).untouched  # only who has the key can sign
    Certificate.objects.filter(pk=kept.pk).update(digest=certifying.digest(record))
    kept.refresh_from_db()
    assert certifying.check(kept).untouched
    assert not certifying.check(kept).same
    with pytest.raises(CommandError):
        call_command("check_certificate", kept.pk)
    with pytest.raises(CommandError):
        call_command("check_certificate", 99999)
    with pytest.raises(ValueError, match="never changed"):
        kept.save()


def test_goals_are_those_that_staff_set(sample):
    Goal.objects.create(figure="accuracy", value=70)
    assert certifying.goals() == {"accuracy": 0.7, "recall": 0.7}
    found = certifying.outcomes(figures.of(sample), certifying.goals())
    assert certifying.overall(found) == "pass"
    few = estimating.exact(9, 10)
    open_ = certifying._outcome("accuracy", few, 0.8)
    assert (open_.finding, open_.needed) == ("open", 62)


def test_pages_show_figures_and_certificates(client, sample):
    user = issuer(drawn.staff("boss"))
    client.force_login(user)
    for axis in ("document", "model", "base"):
        page = client.get(
            reverse("admin:evaluation_sample_figures", args=[sample.pk]), {"by": axis}
        )
        assert page.status_code == 200
    text = page.content.decode()
    assert 'data-value="0.75"' in text
    assert client.get(reverse("admin:evaluation_sample_figures", args=[sample.pk]) + "?by=x").status_code == 404  # fmt: skip  # noqa: E501
    assert str(reverse("admin:evaluation_sample_figures", args=[sample.pk])) in client.get(
        reverse("admin:evaluation_sample_change", args=[sample.pk])
    ).content.decode()  # fmt: skip
    issued = client.post(reverse("admin:evaluation_sample_issue", args=[sample.pk]))
    made = Certificate.objects.get()
    assert issued.url == reverse("admin:evaluation_certificate_change", args=[made.pk])
    shown = client.get(issued.url).content.decode()
    assert made.digest in shown
    assert 'id="check" class="good"' in shown
    assert client.post(issued.url, {}).status_code in (200, 403)
    assert client.get(reverse("admin:evaluation_certificate_changelist")).status_code == 200


def test_a_certificate_is_handed_out_as_pdf_and_word(client, sample):
    user = issuer(drawn.staff("boss"))
    made = certifying.issue(sample, user)
    client.force_login(user)
    told = {"zh-hans": "准确率", "en": "accuracy"}
    for language, word in told.items():
        url = reverse("admin:evaluation_certificate_file", args=[made.pk, "pdf"])
        answer = client.get(url, {"language": language})
        assert answer["Content-Type"] == "application/pdf"
        with pypdfium2.PdfDocument(answer.content) as document:
            text = "".join(page.get_textpage().get_text_bounded() for page in document)
        assert word in text
        assert made.digest[:20] in text.replace("\n", "").replace("\r", "")
        url = reverse("admin:evaluation_certificate_file", args=[made.pk, "docx"])
        word_file = docx.Document(io.BytesIO(client.get(url, {"language": language}).content))
        cells = [
            cell.text for table in word_file.tables for row in table.rows for cell in row.cells
        ]
        assert any(word in cell for cell in cells)
        assert word_file.inline_shapes  # the chart
    wrong = reverse("admin:evaluation_certificate_file", args=[made.pk, "exe"])
    assert client.get(wrong).status_code == 404


def test_a_file_that_was_changed_is_found_out(sample, settings, tmp_path, capsys):
    made = certifying.issue(sample, issuer(drawn.staff("boss")))
    for kind in exports.KINDS:
        file = tmp_path / f"certificate.{kind}"
        issued = exports.export(made, kind, "en")
        file.write_bytes(issued)
        call_command("check_certificate", str(file))
        at = len(issued) // 2
        for other in (
            issued[:at] + bytes([issued[at] ^ 1]) + issued[at + 1 :],
            issued + b"\n",
            b"",
        ):
            file.write_bytes(other)
            with pytest.raises(CommandError):
                call_command("check_certificate", str(file))
        file.write_bytes(issued)
    settings.SECRET_KEY = "another"
    with pytest.raises(CommandError):
        call_command("check_certificate", str(file))
    with pytest.raises(CommandError):
        call_command("check_certificate", str(tmp_path / "nothing.pdf"))


def test_a_record_that_was_changed_is_neither_signed_nor_read(client, sample):
    made = certifying.issue(sample, issuer(drawn.staff("boss")))
    client.force_login(issuer(drawn.staff("reader")))
    page = reverse("admin:evaluation_certificate_change", args=[made.pk])
    for record in ({**made.record, "finding": "pass"}, {"sheet": []}, [1]):
        Certificate.objects.filter(pk=made.pk).update(record=record)
        forged = Certificate.objects.get(pk=made.pk)
        assert not certifying.check(forged).untouched
        for kind in exports.KINDS:
            with pytest.raises(ExportError):
                exports.export(forged, kind, "en")
            url = reverse("admin:evaluation_certificate_file", args=[made.pk, kind])
            shown = client.get(url, follow=True)
            assert shown.redirect_chain == [(page, 302)]
            assert 'id="check" class="errornote"' in shown.content.decode()
        assert client.get(reverse("admin:evaluation_certificate_changelist")).status_code == 200


def test_a_file_says_when_and_as_what_its_record_was_issued(sample):
    made = certifying.issue(sample, issuer(drawn.staff("boss")))
    moved = Certificate(
        pk=made.pk + 7, record=made.record, digest=made.digest, issued_at=timezone.now()
    )
    moved.issued_at -= timedelta(days=400)
    answer = exports.answer(moved, "en")
    assert str(made.pk) in answer.title
    assert abs(answer.at - made.issued_at) < timedelta(minutes=1)


def test_only_who_may_issues_and_sees(client, sample):
    looker = drawn.staff("looker")
    client.force_login(looker)
    for name, pk in (("sample_figures", sample.pk), ("certificate_change", 1)):
        assert client.get(reverse(f"admin:evaluation_{name}", args=[pk])).status_code in (403, 404)
    issue = reverse("admin:evaluation_sample_issue", args=[sample.pk])
    assert client.post(issue).status_code == 403
    looker.user_permissions.add(Permission.objects.get(codename="view_sample"))
    assert (
        client.get(reverse("admin:evaluation_sample_figures", args=[sample.pk])).status_code == 200
    )
    assert client.post(issue).status_code == 403
    assert client.get(issue).status_code == 405
    assert not Certificate.objects.exists()
    made = certifying.issue(sample, issuer(drawn.staff("boss")))
    url = reverse("admin:evaluation_certificate_file", args=[made.pk, "pdf"])
    assert client.get(url).status_code == 403


def test_nothing_is_certified_of_nothing(client):
    base = documents.base()
    documents.put(base, "磁盘满了先执行 `df -h`。")
    drawn.turn(base)
    user = issuer(drawn.staff("boss"))
    empty = drawn.draw(user, 1)
    client.force_login(user)
    client.post(reverse("admin:evaluation_sample_issue", args=[empty.pk]))
    assert not Certificate.objects.exists()
    page = client.get(reverse("admin:evaluation_sample_figures", args=[empty.pk]))
    assert 'id="nothing"' in page.content.decode()


# --- judges -------------------------------------------------------------------------------

ANSWER = Answer(
    question="磁盘满了怎么办",
    sentences=[
        "磁盘满了先执行 `df -h` 看哪个分区。[1]",
        "磁盘满了，先执行 `df -h` 看哪个分区。[1]",
        "然后执行 `rm -rf /data`。[1]",
    ],
    shown={
        "a": "磁盘满了先执行 `df -h` 看哪个分区满了，再清理日志。",
        "b": "如何申请年假：填写表单。",
    },
    cited={1: "磁盘满了先执行 `df -h` 看哪个分区满了，再清理日志。"},
)


def test_words_judge_an_answer():
    made = judges.by_words(ANSWER)
    assert made.unsupported == {3}
    assert made.repeated == {2}
    assert made.relevant == {"a"}


class Model:
    model = "judge-1"
    asked = 0

    def structured(self, messages, schema, **more):
        type(self).asked += 1
        return {"unsupported": [2, 99], "repeated": [1], "relevant": [1, 7]}


def test_a_model_judges_once_for_each_version(sample, monkeypatch, settings):
    monkeypatch.setattr(judges.llms, "model", Model)
    settings.REVIEWS = 5
    Model.asked = 0
    pooling.pool_all(sample.pk)
    assert judges.judge_waiting() == 5  # and no more today
    assert judges.judge_waiting() == 0
    assert Model.asked == 5
    settings.REVIEWS = 3  # fewer than there were already
    assert judges.judge_waiting() == 0
    settings.REVIEWS = 100
    judges.judge_waiting()
    assert JudgedItem.objects.count() == Model.asked == 8
    one = JudgedItem.objects.first()
    assert one.judge.startswith("judge-1 ")
    assert [part["supported"] for part in one.sentences] == [True, False]


def test_a_judge_is_shown_beside_people_and_never_without(client, sample, monkeypatch):
    pooling.pool_all(sample.pk)
    assert judges.judge_waiting() == 8
    made = judges.of(sample)
    assert (made.judge, made.items, made.waiting) == (judges.LEXICAL, 8, 0)
    assert made.faithfulness.agreement.n == made.redundancy.agreement.n == 16
    assert not made.faithfulness.enough
    assert [said[2] for said in labelling.repeated(sample).values() if said].count(True) == 1
    client.force_login(issuer(drawn.staff("boss")))
    page = reverse("admin:evaluation_sample_figures", args=[sample.pk])
    hidden = client.get(page).content.decode()
    assert set(certifying.record_of(sample, drawn.staff("x"))["judges"]) == {"judge"}
    monkeypatch.setattr(judges, "FEWEST", 10)
    shown = client.get(page).content.decode()
    record = certifying.record_of(sample, drawn.staff("y"))
    assert shown.count("<td colspan=") < hidden.count("<td colspan=")
    assert record["judges"]["faithfulness"]["agreement"]["n"] == 16

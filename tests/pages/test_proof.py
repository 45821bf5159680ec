"""From a sample to a proof, and from its labels to another answer in the chat."""

import csv
import io

import pypdfium2
import pytest

from chat.models import Turn
from evaluation import pooling, running
from evaluation.models import Certificate, Item, Run, Sample, Verdict
from knowledge import retrieval
from knowledge.models import KnowledgeBase
from tests.evaluation import drawn

pytestmark = pytest.mark.browser
# The documents have the answer to the first, but it is below the shipped threshold.
BORDERLINE, UNKNOWN = "扩容怎么弄？", "量子纠缠仪如何部署？"
KNOWN = "忘记堡垒机密码怎么办？"
TRULY = {KNOWN: "right", BORDERLINE: "missed", UNKNOWN: "refused"}
KEYS = {"right": "1", "wrong": "3", "refused": "1", "missed": "2"}


@pytest.fixture
def month(site):
    """36 turns: a third each that was answered, should have been, and rightly was not. What is
    asked in the chat makes one more."""
    base = KnowledgeBase.objects.get(slug="demo")
    for question, kind in TRULY.items():
        features = retrieval.search(question, [base]).features
        outcome = Turn.Outcome.ANSWERED if kind == "right" else Turn.Outcome.HANDOFF
        for n in range(12):
            close = {name: value * (1 - n / 200) for name, value in features.items()}
            sureness = {"features": close, "base": base.pk, "threshold": 0.5}
            drawn.turn(
                base, outcome, text=f"{question}（{n + 1}）", query=question, sureness=sureness
            )
    return base


def ask(page):
    """What the chat says to the question."""
    reply = page.locator(".message.assistant:not(#live), .message.system").first
    page.fill("#text", BORDERLINE)
    page.keyboard.press("Enter")
    reply.wait_for()
    return reply.inner_text()


def truth(page):
    return next(kind for text, kind in TRULY.items() if text in page.inner_text(".question"))


def label(page, *kinds):
    """Label the next items by keys: two for each. `kinds` in the place of what is true."""
    page.click("#start")
    for kind in kinds:
        page.wait_for_selector(".labelling[data-ready]")
        place = page.url
        page.keyboard.press(KEYS[kind or truth(page)])
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url, place=place: url != place)


def bring_the_rest(page, sample):
    """By the rater's own sheet."""
    page.goto(f"/admin/evaluation/sample/{sample.pk}/change/")
    page.click(".sheets summary")
    with page.expect_download() as download:
        page.click(".sheets a[href$='csv?mine']")
    text = download.value.path().read_text("utf-8-sig")
    header, *rows = csv.reader(io.StringIO(text))
    question, verdict = 1, 6
    for row in rows:
        row[verdict] = row[verdict] or next(
            kind for asked, kind in TRULY.items() if asked in row[question]
        )
    file = io.StringIO(newline="")
    csv.writer(file).writerows([header, *rows])
    page.goto(f"/admin/evaluation/sample/{sample.pk}/import/")
    content = file.getvalue().encode("utf-8-sig")
    page.set_input_files("[type=file]", {"name": "标注.csv", "mimeType": "text/csv",
                                         "buffer": content})  # fmt: skip
    page.click("[type=submit].default")
    page.wait_for_selector("#brought")
    return page.locator("#brought dd").all_inner_texts()


def replay():
    """What the worker does with runs that wait; one of them compares itself with the other."""
    for _n in range(3):
        for pk in Run.objects.order_by("pk").values_list("pk", flat=True):
            running.go_on(pk)


def test_a_sample_is_drawn_labelled_decided_certified_and_changes_the_chat(
    staff, visit, agent, month
):
    # So far a person is called for a question to which the documents have an answer.
    assert "kubectl scale" not in ask(visit())

    desk = staff(agent, "/admin/evaluation/sample/add/")
    desk.wait_for_selector("#outlook .total")
    assert "37" in desk.inner_text("#outlook .total")
    desk.fill("[name=name]", "十一月")
    desk.click("[type=submit].default")
    desk.wait_for_selector("#strata")
    sample = Sample.objects.get()
    assert sample.size == 37
    pooling.pool_all(sample.pk)  # as the worker does

    wang, zhao = (
        staff(drawn.staff(name), "/admin/evaluation/sample/") for name in ("王敏", "赵强")
    )
    for rater, first in ((wang, None), (zhao, "err")):
        rater.click("#result_list tbody th a")
        start = Item.objects.get(position=1)
        wrong = {True: "wrong", False: "missed"}[start.answered]
        if not start.answered and BORDERLINE in start.turn.message.text:
            wrong = "refused"
        label(rater, wrong if first else None, None, None)
        assert bring_the_rest(rater, sample) == ["34", "3", "0"]

    judge = staff(drawn.staff("孙洁", "adjudicate_sample"), desk.url)
    assert judge.inner_text("#disputed") == "1"
    assert "36 / 37" in judge.inner_text("#settled")
    assert "κ = 0.9" in judge.inner_text("#kappa")
    judge.click("#decide")
    judge.wait_for_selector(".labelling[data-ready]")
    assert len(judge.locator(".others li").all()) == 2
    judge.keyboard.press(KEYS[truth(judge)])
    judge.keyboard.press("Enter")
    judge.wait_for_selector("#settled")
    assert "37 / 37" in judge.inner_text("#settled")
    assert Verdict.objects.count() == 37

    # Figures, and the certificate as a file.
    desk.goto(f"/admin/evaluation/certificate/sample/{sample.pk}/")
    assert "100" in desk.inner_text("#content")
    with desk.expect_navigation():
        desk.click("form[action$='/issue/'] button")
    certificate = Certificate.objects.get()
    with desk.expect_download() as download:
        desk.locator(".deeds a", has_text="PDF").first.click()
    pdf = pypdfium2.PdfDocument(download.value.path())
    words = "".join(page.get_textpage().get_text_range() for page in pdf)
    pdf.close()
    assert "十一月" in words
    assert str(certificate.sample) == "十一月"

    # The labels move the threshold, staff see what that brings, and the chat answers.
    desk.goto(f"/admin/knowledge/knowledgebase/{month.pk}/sureness/")
    assert desk.locator("#then td").first.is_visible()
    desk.click("#save")
    desk.wait_for_selector("#history")
    replay()  # yesterday's questions are asked again before it counts
    used = month.calibrations.get(active=True)
    assert (used.labels, used.threshold < 0.5) == (37, True)
    desk.reload()
    assert f"{used.threshold:.2f}" in desk.inner_text(".facts")
    assert "kubectl scale" in ask(visit())

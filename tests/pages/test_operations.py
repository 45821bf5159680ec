"""The start page, operating figures and what to fix next, as a browser shows them."""

from datetime import timedelta
from functools import partial

import pytest
from django.core.cache import cache

from evaluation import gaps, tallying
from evaluation.models import Gap
from knowledge.models import KnowledgeBase
from tests.browser import wait_for
from tests.evaluation.asked import PROMPT, ask, unanswered

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("unanswered")]
DAY = timedelta(days=1)
# Whether anything is drawn on a canvas.
DRAWN = """canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
    .data.some(value => value !== 0)"""


@pytest.fixture
def page(staff, agent):
    base = KnowledgeBase.objects.get(slug="demo")
    for n in range(6):
        ask(base, prompts=[PROMPT], after=n * DAY, first_ms=300 + 50 * n)
        unanswered(base, ["VPN 连不上怎么办", "连不上 VPN"][n % 2], after=n * DAY)
    cache.clear()
    tallying.catch_up()
    gaps.find_all()
    return staff(agent)


def serious(page):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [one["id"] for one in found if one["impact"] in ("serious", "critical")]


def test_figures_are_drawn_and_topics_are_decided(page):
    page.goto("/admin/")
    page.wait_for_selector(".now .numbers")
    for canvas in page.locator("figure.chart canvas").all():
        wait_for(partial(canvas.evaluate, DRAWN), "a chart to be drawn")
    assert serious(page) == []

    page.goto("/admin/evaluation/tally/")
    figure = page.locator("figure.chart").first
    wait_for(lambda: figure.locator("canvas").evaluate(DRAWN), "a chart to be drawn")
    figure.locator("summary").click()
    assert figure.locator("tbody tr").count() == 30  # what is drawn stands in the table
    assert serious(page) == []
    page.set_viewport_size({"width": 390, "height": 800})
    fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    wait_for(lambda: page.evaluate(fits), "charts to be drawn anew")

    page.goto("/admin/evaluation/gap/")
    assert serious(page) == []
    page.click(".gap summary")
    page.click(".gap [value=solved]")
    page.wait_for_selector("#none")
    assert Gap.objects.get().state == "solved"
    page.click(".tabs a:nth-child(2)")
    page.click(".gap [value=open]")
    page.wait_for_selector("#none")
    assert Gap.objects.get().state == "open"

"""A curator finds out why a passage did not come, mends it and asks again."""

import pytest

from knowledge.models import Chunk, KnowledgeBase, Term

pytestmark = pytest.mark.browser
QUESTION = "出了大问题以后要写什么材料给领导"


@pytest.fixture
def page(staff, agent):
    return staff(agent)


def verdict(page):
    return page.get_attribute("#verdict", "data-verdict")


def mend(page, name):
    with page.expect_navigation():
        page.click(f"[data-mend={name}] button")


def test_why_missed_mended_and_asked_again(page):
    base = KnowledgeBase.objects.get(slug="demo")
    chunk = Chunk.objects.get(text__contains="提交复盘报告")
    page.goto(f"/admin/knowledge/knowledgebase/{base.pk}/try/?top=5&q={QUESTION}")
    assert page.locator(f"#passage-{chunk.pk}").count() == 0
    page.click(".ask-line a")

    # The document by its title, then the passage out of it.
    page.fill("#document_q", chunk.document.title)
    page.click(".ask-line [type=submit]")
    page.locator(".choose a", has_text=chunk.document.title).first.click()
    page.locator("#choose li").nth(chunk.position).get_by_role("link").click()
    assert verdict(page) == "cut"
    assert page.locator("#steps .lost").get_attribute("data-stage") == "cut"

    # With its question attached it comes first.
    mend(page, "question")
    assert verdict(page) == "answered"
    assert page.locator("#steps .lost").count() == 0
    chunk.refresh_from_db()
    assert chunk.questions == [QUESTION]

    # What is switched off is left out, and switched on again there.
    Chunk.objects.filter(pk=chunk.pk).update(enabled=False)
    page.reload()
    assert verdict(page) == "filter"
    mend(page, "enable")
    assert verdict(page) == "answered"


def test_a_term_is_added_where_its_word_is_missing(page):
    base = KnowledgeBase.objects.get(slug="demo")
    chunk = Chunk.objects.filter(text__contains="堡垒机").order_by("pk").first()
    where = f"/admin/knowledge/knowledgebase/{base.pk}/missed/"
    page.goto(f"{where}?q=bastion&expected={chunk.pk}")
    assert verdict(page) == "lexical"
    page.fill("[name=means]", "堡垒机")
    mend(page, "synonym")
    assert Term.objects.get(canonical="堡垒机").variants == ["bastion"]
    assert "lost" not in (page.get_attribute("[data-stage=lexical]", "class") or "")
    page.goto(f"/admin/knowledge/knowledgebase/{base.pk}/try/?q=bastion")
    assert "bastion → 堡垒机" in page.inner_text("#applied")
    assert "堡垒机" in page.locator(".passage mark").all_inner_texts()


def test_the_pages_fit_a_phone(staff, agent):
    page = staff(agent, viewport={"width": 360, "height": 740}, color_scheme="dark")
    base = KnowledgeBase.objects.get(slug="demo")
    start = f"/admin/knowledge/knowledgebase/{base.pk}"
    chunk = Chunk.objects.filter(knowledge_base=base).first()
    for address in (
        f"{start}/try/?q=主从延迟",
        f"{start}/missed/?q=zzz&chunk={chunk.pk}",
        "/admin/knowledge/similarity/",
        "/admin/knowledge/similarity/outdated/?kind=old",
    ):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, address

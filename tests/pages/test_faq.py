"""A curator brings an FAQ sheet with bad rows, and its good ones answer, in Chromium."""

import pytest
from playwright.sync_api import expect

from knowledge.models import Entry, KnowledgeBase

pytestmark = pytest.mark.browser
SHEET = """运维问答,2024,,
用户怎么问,怎么答,备注,别的说法
网关怎么重启？,执行 gwctl restart,甲,网关卡死了|重启 gateway
日志在哪里？,/var/log/gateway,乙,
,没有问题的一行,丙,
没有答案？,,丁,
日志在哪里,重复的问题,戊,
"""


def test_a_sheet_with_bad_rows_is_previewed_mapped_and_imported(staff, agent, site, tmp_path):
    base = KnowledgeBase.objects.create(slug="ops", name="运维")
    sheet = tmp_path / "问答.csv"
    sheet.write_bytes(SHEET.encode("gbk"))
    with site.workers():
        page = staff(agent, "/admin/knowledge/import/add/?kind=faq")
        page.select_option("#id_knowledge_base", label="运维")
        page.set_input_files("#id_file", str(sheet))
        page.click("#import [type=submit]")

        # Nobody can guess these columns: the curator says which row is the header and what is what.
        expect(page.locator(".mapping .missing")).to_have_count(2)
        page.wait_for_load_state()  # from now on the page hears of changes
        page.fill("[name=header]", "2")
        with page.expect_navigation():  # a change is previewed at once
            page.press("[name=header]", "Tab")
        expect(page.locator("[name=column_question] option").nth(1)).to_have_text("A 用户怎么问")
        for field, column in (("question", "0"), ("answer", "1"), ("variants", "3")):
            with page.expect_navigation():
                page.select_option(f"[name=column_{field}]", column)
        expect(page.locator("#errors tbody tr")).to_have_count(3)
        assert page.locator("#errors tbody td:first-child").all_inner_texts() == ["5", "6", "7"]
        assert page.locator("#errors tbody td:last-child").all_inner_texts()[2] == (
            "问题与第 4 行重复。"
        )
        with page.expect_download() as download:
            page.locator("#errors a").last.click()
        assert "没有问题的一行" in download.value.path().read_text("utf-8-sig")
        assert not Entry.objects.exists()

        page.click("[name=_import]")
        expect(page.locator("#import-state .state-done")).to_be_visible(timeout=60_000)
        assert page.locator("#errors tbody tr").count() == 3
        page.locator("#import-state a.button").click()
        expect(page.locator("#result_list .state-published")).to_have_count(2)

        # Another wording finds it.
        page.goto(f"/admin/knowledge/knowledgebase/{base.pk}/try/?q=gateway 卡死")
        expect(page.locator("#content-main")).to_contain_text("执行 gwctl restart")
        assert page.problems == []

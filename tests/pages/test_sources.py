"""A curator adds a web source and sees it come in, with the real workers."""

import pytest
from playwright.sync_api import expect

from knowledge.models import Document, KnowledgeBase
from tests.knowledge.web_server import web_server

pytestmark = pytest.mark.browser


def test_a_site_is_added_comes_in_and_is_renewed(site, staff, agent):
    KnowledgeBase.objects.create(slug="ops", name="运维")
    page = staff(agent, "/admin/knowledge/source/add/")
    with web_server() as there, site.workers():
        there.put(
            "/docs/", "运维手册", "这是运维手册的目录，由此进入各章。", ["/docs/a", "/docs/none"]
        )
        there.put("/docs/a", "网关重启", "重启网关服务时执行命令 gatewayctl restart 即可。")
        page.locator(".kinds a").first.click()
        page.select_option("#id_knowledge_base", label="运维")
        page.fill("#id_name", "产品文档")
        page.fill("#id_options-address", f"{there.url}/docs/")
        page.fill("#id_options-depth", "1")

        # Tried first: the page shows how the text begins, and keeps what was typed.
        page.click("[name=_try]")
        expect(page.locator(".trial .begins")).to_contain_text("这是运维手册的目录")
        assert page.input_value("#id_name") == "产品文档"
        page.click("[name=_save]")

        # It comes in by itself, the page that is not there with its error.
        expect(page.locator("table.items .key")).to_have_count(3, timeout=60_000)
        expect(page.locator("table.items p.said").filter(has_text="没有内容")).to_have_count(1)
        expect(page.locator(".source-state progress")).to_have_count(0, timeout=60_000)

        # What changed over there is changed here, when asked.
        there.put("/docs/a", "网关重启", "重启网关服务时执行命令 systemctl restart gateway 即可。")
        page.locator(".doings button").first.click()
        expect(page.locator(".count").filter(has_text="变更 1")).to_have_count(1, timeout=60_000)
        assert Document.objects.get(title="网关重启").revisions.count() == 2
        assert page.problems == []

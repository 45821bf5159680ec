"""A curator uploads files and watches them, with the real workers."""

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from playwright.sync_api import expect

from knowledge.models import Document, KnowledgeBase

pytestmark = pytest.mark.browser
ADD = "/admin/knowledge/document/add/"


@pytest.fixture
def base(site):
    return KnowledgeBase.objects.create(slug="ops", name="运维")


def sign_in_by_the_form(page):
    password = "correct horse battery"
    hashed = make_password(password, hasher="argon2")  # as the server's settings want it
    User.objects.create(username="curator", password=hashed, is_staff=True, is_superuser=True)
    page.goto(f"/admin/login/?next={ADD}")
    page.fill("#id_username", "curator")
    page.fill("#id_password", password)
    page.click("#login-form [type=submit]")


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "重启手册.md").write_text("# 重启\n\nsystemctl restart nginx\n")
    (folder / "faq.csv").write_text("问题,答案\n怎么看日志,journalctl -u nginx\n")
    (folder / "program.pdf").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(60))
    return sorted(folder.iterdir())


def test_a_curator_uploads_watches_retries_and_deletes(site, browse, base, files):
    page = browse()
    with site.workers():
        sign_in_by_the_form(page)
        page.set_input_files("#id_files", [str(path) for path in files])
        page.click("#upload [type=submit]")  # without a base nothing is sent, and all is kept
        assert page.locator("#id_knowledge_base:invalid").count() == 1
        page.select_option("#id_knowledge_base", label="运维")
        page.click("#upload [type=submit]")

        # Each file has a line of its own, which becomes ready or failed by itself.
        lines = page.locator("#uploaded li")
        expect(page.locator("#uploaded .state")).to_have_count(3, timeout=20_000)
        expect(page.locator("#uploaded .state-ready")).to_have_count(2, timeout=60_000)
        failed = lines.filter(has_text="program.pdf")
        expect(failed.locator(".state-failed")).to_have_count(1, timeout=60_000)
        error = Document.objects.get(title="program").latest.error
        assert failed.locator(".state-error").inner_text() == error

        # The document's page tells the error too.
        with page.expect_navigation():
            failed.get_by_role("link").click()
        assert page.locator(".state-error").first.inner_text() == error

        # The list: process again, and see it come back without reloading.
        page.goto("/admin/knowledge/document/?q=faq")
        page.check("input[name=_selected_action]")
        page.select_option("select[name=action]", "retry")
        with page.expect_navigation():
            page.click("button[name=index]")
        page.wait_for_selector(".upload-state .state-ready", timeout=60_000)

        # All columns are in sight, none squeezed to a character.
        page.goto(f"/admin/knowledge/document/?knowledge_base__id__exact={base.pk}")
        assert page.locator(".results").evaluate("e => e.scrollWidth - e.clientWidth") == 0
        assert page.locator("#result_list tbody th").first.bounding_box()["width"] > 100

        # And delete all that is there.
        page.check("#action-toggle")
        page.select_option("select[name=action]", "delete_selected")
        for button in ("button[name=index]", "#content [type=submit]"):
            with page.expect_navigation():
                page.click(button)
        assert not base.documents.exists()
        assert page.problems == []


def test_a_lost_server_is_said_and_found_again(site, staff, agent, base, files):
    page = staff(agent, ADD)
    page.select_option("#id_knowledge_base", label="运维")
    page.set_input_files("#id_files", str(files[0]))
    page.click("#upload [type=submit]")
    page.wait_for_selector("#uploaded .state-queued")  # nobody reads it yet
    page.context.set_offline(True)
    page.wait_for_selector("#live:not([hidden])")
    page.context.set_offline(False)
    with site.workers():
        page.wait_for_selector("#uploaded .state-ready", timeout=60_000)
    expect(page.locator("#live")).to_be_hidden()


def test_the_form_works_without_scripts(staff, agent, files):
    page = staff(agent, ADD, java_script_enabled=False)
    page.fill("#id_new_base", "网络")
    page.set_input_files("#id_files", [str(path) for path in files])
    page.click("#upload [type=submit]")
    expect(page.locator(".messagelist li.success")).to_have_count(2)
    expect(page.locator(".messagelist li.error")).to_have_count(1)
    added = KnowledgeBase.objects.get(name="网络")
    page.goto(f"/admin/knowledge/document/?knowledge_base__id__exact={added.pk}")
    assert page.locator("#result_list tbody tr").count() == 3

"""A curator gives a knowledge base an index of its own, in Chromium, with the real worker."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from knowledge.models import EmbeddingIndex, KnowledgeBase
from tests.browser import CHROMIUM, chromium, server, workers
from tests.knowledge import documents
from tests.knowledge.embedding_server import embedding_server
from tests.pages.conftest import sign_in

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed"),
]


def test_a_base_gets_an_index_of_its_own_and_goes_back(tmp_path):
    user = User.objects.create_superuser("lin")
    base = KnowledgeBase.objects.create(slug="ops", name="运维")
    other = KnowledgeBase.objects.create(slug="other", name="网络")
    for one in (base, other):
        documents.put(one, "nginx 用 systemctl restart nginx 重启")
    EmbeddingIndex.objects.create(
        embedder="bge-m3", model="BAAI/bge-m3", dimensions=1024, sparse=True, state="active",
        total=2, done=2,
    )  # fmt: skip
    home = tmp_path / "home"
    with embedding_server(dimensions=8) as models:
        models = {
            "OPSDESK_EMBEDDER": "openai",
            "OPENAI_EMBEDDING_BASE_URL": models.url,
            "OPENAI_EMBEDDING_MODEL": "text-embedding",
            "OPENAI_EMBEDDING_DIMENSIONS": "8",
        }
        with workers(home, **models), server(home, **models) as url, chromium() as page:
            sign_in(page, user, url)
            page.goto(f"{url}/admin/knowledge/knowledgebase/{base.pk}/change/")
            page.click(".overview-links a[href*='/embeddingindex/of/']")
            page.select_option("#embedder", "openai")
            page.click(".doings form[action$='build/'] button")

            # It is built in the background, and can be chosen without reloading by hand.
            own = page.locator("tr", has_text="text-embedding")
            expect(own.locator(".state-ready")).to_be_visible(timeout=30_000)
            own.get_by_role("button").click()
            expect(page.locator("tr.answers")).to_contain_text("text-embedding")
            base.refresh_from_db()
            assert base.index.model == "text-embedding"

            page.goto(f"{url}/admin/knowledge/embeddingindex/")
            expect(page.locator("#result_list")).to_contain_text("运维")
            page.click("#result_list a[href*='/embeddingindex/of/']")
            page.click(".doings form[action$='go-back/'] button")
            expect(page.locator("tr.answers")).to_contain_text("BAAI/bge-m3")
            base.refresh_from_db()
            assert base.index is None
            assert page.problems == []

"""Web pages, sitemaps and files behind links: in, replaced, retired, back again."""

import gzip
from datetime import timedelta
from functools import partial

import pytest
from django.core.cache import cache
from django.utils import timezone
from django_q.models import OrmQ

from knowledge import retrieval, tasks
from knowledge.models import Document, KnowledgeBase, Revision, Source, SourceItem
from knowledge.sources import running, web
from knowledge.sources import tasks as source_tasks
from knowledge.sources.base import Backend
from opsdesk import locking
from tests.knowledge.web_server import Answer, page, web_server

pytestmark = pytest.mark.django_db

State = Source.State


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(web, "Fetcher", partial(web.Fetcher, sleep=lambda seconds: None))


@pytest.fixture(autouse=True)
def limits(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    settings.FETCH_PRIVATE, settings.FETCH_DELAY = ["127.0.0.1"], 0
    cache.clear()


@pytest.fixture
def site():
    with web_server() as server:
        yield server


@pytest.fixture
def base():
    return KnowledgeBase.objects.create(slug="ops", name="Ops")


def source(base, kind, **options):
    defaults = {
        "web": {"depth": 0, "below": "", "pages": 50},
        "sitemap": {"include": "", "exclude": "", "pages": 50},
        "link": {},
    }[kind]
    return Source.objects.create(
        knowledge_base=base, kind=kind, name="手册", options={**defaults, **options}
    )


def look(source):
    """A whole look at it, as the worker does; its run."""
    source_tasks.refresh(source)
    while running.run(source.pk):
        pass
    source.refresh_from_db()
    return source.runs.first()


def counts(run):
    return (run.added, run.changed, run.unchanged, run.retired, run.failed)


def read_all():
    for revision in Revision.objects.unfinished():
        tasks.process(revision.pk)


def found(base, question):
    bases = KnowledgeBase.objects.filter(pk=base.pk)
    return [passage.title for passage in retrieval.search(question, bases).passages]


def sitemap(*entries):
    rows = "".join(
        f"<url><loc>{url}</loc>{f'<lastmod>{changed}</lastmod>' if changed else ''}</url>"
        for url, changed in entries
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{rows}</urlset>'
    )


# --- a page ----------------------------------------------------------------------------


def test_a_page_comes_in_with_its_main_content_and_its_address(base, site):
    site.put(
        "/docs/nginx", "重启 nginx", "先执行 nginx -t 检查配置，再执行 systemctl reload nginx。"
    )
    page = source(base, "web", address=f"{site.url}/docs/nginx")
    assert counts(look(page)) == (1, 0, 0, 0, 0)
    read_all()
    document = Document.objects.get()
    assert (document.title, document.url) == ("重启 nginx", f"{site.url}/docs/nginx")
    assert document.source == page and document.origin == Document.Origin.SOURCE
    text = " ".join(chunk.text for chunk in document.chunks.all())
    assert "systemctl reload" in text and "备案号" not in text and "登录" not in text
    assert page.state == State.IDLE and page.next_at > timezone.now() + timedelta(hours=23)


def test_tables_code_headings_and_lists_are_kept():
    title, text = web.readable(
        "<html><head><title>错误码 - 手册</title></head><body><main><h1>错误码</h1>"
        "<p>网关返回的错误码和它们的处理办法，都在这里，按代码排列。</p><h2>一览</h2>"
        "<table><tr><th>代码</th><th>含义</th></tr><tr><td>502</td><td>上游不可用</td></tr></table>"
        "<ol><li>登录主机</li><li>看日志</li></ol><pre><code>nginx -t\n# 检查</code></pre>"
        "<p>详见<a href='/up'>上游</a>和<code>error.log</code>。</p></main></body></html>",
        "https://docs.example.com/errors",
    )
    assert title == "错误码"
    assert "## 一览" in text and "| 502 | 上游不可用 |" in text and "nginx -t\n# 检查" in text
    assert "1. 登录主机" in text and "[上游](https://docs.example.com/up)" in text


def test_what_did_not_change_costs_one_short_answer(base, site):
    site.put("/a", "标题", "这一页说明如何重启网关服务以及需要注意的事项。")
    page = source(base, "web", address=f"{site.url}/a")
    look(page)
    assert counts(look(page)) == (0, 0, 1, 0, 0)
    assert site.asked("/a") == [200, 304] and Revision.objects.count() == 1
    # Nor does a page that is sent again with another advertisement around it.
    same = site.pages["/a"]
    site.pages["/a"] = Answer(same.body.replace("备案号", "今日特惠"), headers=same.headers)
    assert counts(look(page)) == (0, 0, 1, 0, 0)


def test_a_changed_page_is_replaced_and_its_old_content_answers_no_more(base, site):
    site.put("/a", "网关", "重启网关服务时执行命令 gatewayctl restart 即可完成操作。")
    page = source(base, "web", address=f"{site.url}/a")
    look(page)
    read_all()
    site.put("/a", "网关", "重启网关服务时执行命令 systemctl restart gateway 即可完成操作。")
    assert counts(look(page)) == (0, 1, 0, 0, 0)
    read_all()
    assert Document.objects.count() == 1 and Revision.objects.count() == 2
    assert "gatewayctl" not in Document.objects.get().chunks.first().text


def test_what_vanished_is_retired_and_comes_back(base, site):
    site.put("/a", "网关重启", "重启网关服务时执行命令 gatewayctl restart 即可完成操作。")
    there = site.pages["/a"]
    page = source(base, "web", address=f"{site.url}/a")
    look(page)
    read_all()
    assert found(base, "网关怎么重启") == ["网关重启"]
    site.pages["/a"] = Answer("gone", 404)
    assert counts(look(page)) == (0, 0, 0, 1, 0)
    assert found(base, "网关怎么重启") == []
    assert Document.objects.get().retired_reason
    assert counts(look(page)) == (0, 0, 0, 0, 0)  # said once
    site.pages["/a"] = there
    look(page)
    assert found(base, "网关怎么重启") == ["网关重启"]
    assert Document.objects.get().retired_at is None


@pytest.mark.parametrize("status", [500, 503, 403])
def test_a_server_that_is_down_retires_nothing(base, site, status):
    site.put("/a", "标题", "这一页说明如何重启网关服务以及需要注意的事项。")
    page = source(base, "web", address=f"{site.url}/a")
    look(page)
    site.pages["/a"] = Answer("", status)
    for _run in range(3):
        assert counts(look(page)) == (0, 0, 0, 0, 1)
    assert Document.objects.get().retired_at is None
    assert page.state == State.FAILED and str(status) in page.error
    assert page.next_at < timezone.now() + timedelta(hours=1)


def test_a_page_made_by_scripts_is_said_to_be(base, site):
    site.pages["/a"] = Answer("<html><body><div id=app></div></body></html>")
    page = source(base, "web", address=f"{site.url}/a")
    assert counts(look(page)) == (0, 0, 0, 0, 1)
    assert page.error == page.items.get().error != ""


def test_what_waits_for_approval_does_not_answer(base, site):
    site.put("/a", "网关重启", "重启网关服务时执行命令 gatewayctl restart 即可完成操作。")
    page = source(base, "web", address=f"{site.url}/a")
    Source.objects.update(approve=False)
    look(page)
    read_all()
    assert Document.objects.get().approved_at is None and found(base, "网关怎么重启") == []


def test_a_page_of_another_charset_is_read(base, site):
    html = page("网关重启", "重启网关服务时执行命令 gatewayctl restart 即可完成操作。").body
    site.pages["/a"] = Answer(
        html.replace("charset=utf-8", "charset=gbk").encode("gb18030"),
        headers={"Content-Type": "text/html"},
    )
    look(source(base, "web", address=f"{site.url}/a"))
    assert Document.objects.get().title == "网关重启"


# --- a page and its links ----------------------------------------------------------------


@pytest.fixture
def docs(site):
    site.put(
        "/docs/", "目录", "这是运维手册的目录，由此进入各章。", ["/docs/a", "/docs/b", "/blog/x"]
    )
    site.put(
        "/docs/a", "甲章", "甲章说明如何重启网关服务以及注意事项。", ["/docs/c", "/docs/a#top"]
    )
    site.put("/docs/b", "乙章", "乙章说明如何扩容数据库的磁盘空间。", ["/docs/", "/docs/pic.png"])
    site.put("/docs/c", "丙章", "丙章说明如何轮换证书和密钥文件。")
    site.put("/blog/x", "闲话", "与手册无关的一篇博客文章而已。")
    return site


def test_links_below_the_address_are_followed_to_a_depth(base, docs):
    one = source(base, "web", address=f"{docs.url}/docs/", depth=1)
    assert counts(look(one)) == (3, 0, 0, 0, 0)
    assert {d.title for d in Document.objects.all()} == {"目录", "甲章", "乙章"}
    two = source(base, "web", address=f"{docs.url}/docs/", depth=2)
    look(two)
    assert {d.title for d in two.documents.all()} == {"目录", "甲章", "乙章", "丙章"}
    assert not docs.asked("/blog/x") and not docs.asked("/docs/pic.png")


def test_links_of_unchanged_pages_are_remembered(base, docs):
    crawl = source(base, "web", address=f"{docs.url}/docs/", depth=2)
    look(crawl)
    assert counts(look(crawl)) == (0, 0, 4, 0, 0)
    assert counts(look(crawl)) == (0, 0, 4, 0, 0)
    assert Document.objects.filter(retired_at=None).count() == 4


def test_a_page_nothing_leads_to_any_more_is_retired_the_second_time(base, docs):
    crawl = source(base, "web", address=f"{docs.url}/docs/", depth=2)
    look(crawl)
    docs.put("/docs/a", "甲章", "甲章说明如何重启网关服务，别无其他。")
    assert counts(look(crawl)) == (0, 1, 2, 0, 0)
    assert counts(look(crawl)) == (0, 0, 3, 1, 0)
    assert Document.objects.exclude(retired_at=None).get().title == "丙章"


def test_a_limit_of_pages_is_kept_and_said(base, docs):
    crawl = source(base, "web", address=f"{docs.url}/docs/", depth=2, pages=2)
    run = look(crawl)
    assert Document.objects.count() == 2 and not run.complete and crawl.error


def test_a_link_that_leads_on_is_one_page(base, docs):
    docs.put("/docs/", "目录", "这是运维手册的目录，由此进入各章。", ["/docs/old", "/docs/c"])
    docs.pages["/docs/old"] = Answer(status=301, headers={"Location": "/docs/c"})
    look(source(base, "web", address=f"{docs.url}/docs/", depth=1))
    assert sorted(d.title for d in Document.objects.all()) == ["丙章", "目录"]


# --- a sitemap ---------------------------------------------------------------------------


def test_all_pages_of_a_sitemap_come_in_but_those_left_out(base, docs):
    urls = [f"{docs.url}{path}" for path in ("/docs/a", "/docs/b", "/docs/c", "/blog/x")]
    rows = [(url, "") for url in [*urls, "https://elsewhere.example/docs/z"]]
    docs.pages["/sitemap.xml"] = Answer(sitemap(*rows))
    pages = source(
        base,
        "sitemap",
        address=f"{docs.url}/sitemap.xml",
        include="/docs/*",
        exclude="/docs/b*",
    )
    assert counts(look(pages)) == (2, 0, 0, 0, 0)
    assert {d.title for d in Document.objects.all()} == {"甲章", "丙章"}


def test_one_bad_entry_of_a_sitemap_or_a_huge_page_stops_none_of_the_others(
    base, docs, monkeypatch
):
    monkeypatch.setattr(web, "PAGE_BYTES", 5000)
    docs.put("/docs/huge", "巨章", "很多很多的字。" * 1000)
    rows = [("http://[nowhere/", ""), ("", ""), (f"{docs.url}/docs/huge", "")]
    docs.pages["/sitemap.xml"] = Answer(sitemap(*rows, (f"{docs.url}/docs/a", "")))
    pages = source(base, "sitemap", address=f"{docs.url}/sitemap.xml")
    assert counts(look(pages)) == (1, 0, 0, 0, 1)
    assert Document.objects.get().title == "甲章"


def test_an_index_and_packed_sitemaps_are_read(base, docs):
    docs.pages["/sitemap.xml"] = Answer(
        '<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
        "<sitemap><loc>/one.xml.gz</loc></sitemap><sitemap><loc>/two.xml</loc></sitemap>"
        "</sitemapindex>"
    )
    docs.pages["/one.xml.gz"] = Answer(gzip.compress(sitemap((f"{docs.url}/docs/a", "")).encode()))
    docs.pages["/two.xml"] = Answer(sitemap((f"{docs.url}/docs/b", "")))
    pages = source(base, "sitemap", address=f"{docs.url}/sitemap.xml")
    assert counts(look(pages)) == (2, 0, 0, 0, 0)
    # Part of the listing fails: what it would have held is not taken for vanished.
    docs.pages["/two.xml"] = Answer("", 403)
    for _run in range(3):
        assert counts(look(pages)) == (0, 0, 1, 0, 0)
    assert pages.error and Document.objects.filter(retired_at=None).count() == 2


def test_what_an_index_has_too_much_is_not_taken_for_vanished(base, docs, monkeypatch):
    docs.pages["/sitemap.xml"] = Answer(
        '<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
        "<sitemap><loc>/one.xml</loc></sitemap><sitemap><loc>/two.xml</loc></sitemap>"
        "</sitemapindex>"
    )
    for name, path in (("/one.xml", "a"), ("/two.xml", "b")):
        docs.pages[name] = Answer(sitemap((f"{docs.url}/docs/{path}", "")))
    pages = source(base, "sitemap", address=f"{docs.url}/sitemap.xml")
    look(pages)
    monkeypatch.setattr(web, "SITEMAPS", 1)
    for _run in range(3):
        assert counts(look(pages)) == (0, 0, 1, 0, 0)
    assert pages.error and Document.objects.filter(retired_at=None).count() == 2


def test_a_date_of_last_change_spares_the_question(base, docs):
    docs.pages["/sitemap.xml"] = Answer(sitemap((f"{docs.url}/docs/a", "2026-01-01")))
    pages = source(base, "sitemap", address=f"{docs.url}/sitemap.xml")
    look(pages)
    assert counts(look(pages)) == (0, 0, 1, 0, 0)
    assert docs.asked("/docs/a") == [200]
    docs.pages["/sitemap.xml"] = Answer(sitemap((f"{docs.url}/docs/a", "2026-02-01")))
    look(pages)
    assert docs.asked("/docs/a") == [200, 304]


def test_a_page_missing_from_two_sitemaps_in_a_row_is_retired(base, docs):
    both = [(f"{docs.url}/docs/a", ""), (f"{docs.url}/docs/b", "")]
    docs.pages["/sitemap.xml"] = Answer(sitemap(*both))
    pages = source(base, "sitemap", address=f"{docs.url}/sitemap.xml")
    look(pages)
    docs.pages["/sitemap.xml"] = Answer(sitemap(both[0]))
    assert look(pages).retired == 0
    docs.pages["/sitemap.xml"] = Answer(sitemap(*both))
    look(pages)  # it was only away for a moment
    docs.pages["/sitemap.xml"] = Answer(sitemap(both[0]))
    assert look(pages).retired == 0 and look(pages).retired == 1
    docs.pages["/sitemap.xml"] = Answer(sitemap(*both))
    look(pages)
    assert not Document.objects.exclude(retired_at=None).exists()


def test_what_is_no_sitemap_is_said_and_retires_nothing(base, docs):
    docs.pages["/sitemap.xml"] = Answer(sitemap((f"{docs.url}/docs/a", "")))
    pages = source(base, "sitemap", address=f"{docs.url}/sitemap.xml")
    look(pages)
    docs.pages["/sitemap.xml"] = Answer("<html>maintenance</html>")
    for _run in range(2):
        look(pages)
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><urlset><url><loc>&a;</loc></url></urlset>'
    docs.pages["/sitemap.xml"] = Answer(bomb)
    look(pages)
    assert pages.state == State.FAILED and "sitemap.xml" in pages.error
    assert Document.objects.get().retired_at is None


def test_a_page_that_moved_keeps_its_document(base, docs):
    docs.pages["/sitemap.xml"] = Answer(sitemap((f"{docs.url}/docs/a", "")))
    pages = source(base, "sitemap", address=f"{docs.url}/sitemap.xml")
    look(pages)
    before = Document.objects.get()
    docs.pages["/docs/new"] = docs.pages.pop("/docs/a")
    docs.pages["/sitemap.xml"] = Answer(sitemap((f"{docs.url}/docs/new", "")))
    look(pages)
    after = Document.objects.get()
    assert after.pk == before.pk and after.url == f"{docs.url}/docs/new"
    assert SourceItem.objects.get().key == f"{docs.url}/docs/new"


# --- files -------------------------------------------------------------------------------


def test_files_behind_links_are_read_as_what_they_are(base, site):
    site.pages["/export?format=csv"] = Answer(
        "问题,答案\n怎么看日志,journalctl -u nginx\n", headers={"Content-Type": "text/csv"}
    )
    site.pages["/notes.md"] = Answer("# 说明\n\n重启前先备份。\n")
    files = source(base, "link", addresses=f"{site.url}/export?format=csv\n{site.url}/notes.md")
    assert counts(look(files)) == (2, 0, 0, 0, 0)
    kinds = Revision.objects.values_list("media_type", flat=True)
    assert sorted(kinds) == ["text/csv", "text/markdown"]
    assert counts(look(files)) == (0, 0, 2, 0, 0)
    site.pages["/notes.md"] = Answer("# 说明\n\n重启前先备份，再通知。\n")
    assert counts(look(files)) == (0, 1, 1, 0, 0)
    # An address taken off the list is gone.
    files.options["addresses"] = f"{site.url}/notes.md"
    files.save()
    look(files)
    assert look(files).retired == 1


def test_a_sign_in_page_is_not_taken_for_the_file(base, site):
    site.put("/export.csv", "登录", "请先登录以后再下载您需要的文件内容。")
    files = source(base, "link", addresses=f"{site.url}/export.csv")
    assert counts(look(files)) == (0, 0, 0, 0, 1)
    assert not Document.objects.exists()


def test_a_file_nobody_can_read_is_an_error_of_that_item_alone(base, site):
    site.pages["/a.bin"] = Answer(b"\x7fELF\x02\x01\x01" + bytes(60))
    site.pages["/b.md"] = Answer("# 说明\n\n重启前先备份。\n")
    files = source(base, "link", addresses=f"{site.url}/a.bin\n{site.url}/b.md")
    assert counts(look(files)) == (1, 0, 0, 0, 1)
    assert files.items.get(key__endswith="a.bin").error and files.state == State.IDLE


def test_a_link_is_fetched_although_robots_forbid_to_roam(base, site):
    site.pages["/robots.txt"] = Answer("User-agent: *\nDisallow: /\n")
    site.pages["/b.md"] = Answer("# 说明\n\n重启前先备份。\n")
    assert look(source(base, "link", addresses=f"{site.url}/b.md")).added == 1
    site.put("/a", "标题", "这一页说明如何重启网关服务以及需要注意的事项。")
    assert look(source(base, "web", address=f"{site.url}/a")).failed == 1


# --- slices, kills, schedules --------------------------------------------------------------


def test_a_long_look_is_done_in_slices(base, docs):
    crawl = source(base, "web", address=f"{docs.url}/docs/", depth=2)
    source_tasks.refresh(crawl)
    slices = 1
    while running.run(crawl.pk, seconds=0):
        slices += 1
        assert Source.objects.get().state == State.RUNNING
    assert slices == 4  # a page each
    assert counts(crawl.runs.get()) == (4, 0, 0, 0, 0)


class Killed(BaseException):
    pass


def test_a_killed_look_goes_on_where_it_was(base, docs, monkeypatch):
    crawl = source(base, "web", address=f"{docs.url}/docs/", depth=2)
    source_tasks.refresh(crawl)
    OrmQ.objects.all().delete()
    real, fetched = web.Page.fetch, []

    def fetch(self, item):
        if len(fetched) == 2:
            monkeypatch.setattr(running._Look, "_end", lambda self, error="": False)
            raise Killed
        fetched.append(item.key)
        return real(self, item)

    with monkeypatch.context() as patch:
        patch.setattr(web.Page, "fetch", fetch)
        with pytest.raises(Killed):
            running.run(crawl.pk)
    monkeypatch.undo()
    crawl.refresh_from_db()
    assert crawl.state == State.RUNNING and crawl.runs.get().finished_at is None
    assert source_tasks.due() == 0  # its worker may still be at it
    Source.objects.update(next_at=timezone.now())
    assert source_tasks.due() == 1
    assert OrmQ.objects.last().func() == "knowledge.sources.tasks.run"
    source_tasks.run(crawl.pk)
    assert counts(crawl.runs.get()) == (4, 0, 0, 0, 0)
    assert all(docs.asked(path).count(200) <= 1 for path in ("/docs/", "/docs/a"))


def test_an_item_that_kills_the_worker_is_given_up(base, site, monkeypatch):
    site.put("/a", "标题", "这一页说明如何重启网关服务以及需要注意的事项。")
    page = source(base, "web", address=f"{site.url}/a")
    source_tasks.refresh(page)

    def die(self, item):
        raise Killed

    monkeypatch.setattr(web.Page, "fetch", die)
    with monkeypatch.context() as patch:
        patch.setattr(running._Look, "_end", lambda self, error="": False)
        for _kill in range(3):
            with pytest.raises(Killed):
                running.run(page.pk)
    running.run(page.pk)
    page.refresh_from_db()
    assert page.state == State.FAILED and page.items.get().error


def test_only_one_at_a_time_looks_at_a_source(base, site, django_db_blocker):
    page = source(base, "web", address=f"{site.url}/a")
    Source.objects.update(state=State.QUEUED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locking, "_call", lambda function, key: False)
        assert running.run(page.pk) is False
    assert not page.runs.exists() and not site.log


def test_what_is_due_is_queued_once(base, site):
    page = source(base, "web", address=f"{site.url}/a")
    paused = source(base, "web", address=f"{site.url}/b")
    asked = source(base, "web", address=f"{site.url}/c")
    now = timezone.now()
    Source.objects.filter(pk=page.pk).update(next_at=now)
    Source.objects.filter(pk=paused.pk).update(next_at=now, enabled=False)
    Source.objects.filter(pk=asked.pk).update(next_at=None, every=0)
    assert source_tasks.due() == 1 and source_tasks.due() == 0
    assert [row.args() for row in OrmQ.objects.all()] == [(page.pk,)]
    source_tasks.refresh(asked)
    source_tasks.refresh(asked)
    assert OrmQ.objects.count() == 2


def test_a_task_delivered_twice_looks_once(base, site):
    site.put("/a", "标题", "这一页说明如何重启网关服务以及需要注意的事项。")
    page = source(base, "web", address=f"{site.url}/a")
    source_tasks.refresh(page)
    source_tasks.run(page.pk)
    source_tasks.run(page.pk)
    assert page.runs.count() == 1 and len(site.asked("/a")) == 1


def test_a_server_that_does_not_answer_is_not_asked_for_every_page(base, docs, monkeypatch):
    monkeypatch.setattr(web, "Fetcher", partial(web.Fetcher, tries=1))
    paths = [f"/p{n}" for n in range(20)]
    docs.pages["/sitemap.xml"] = Answer(sitemap(*((docs.url + path, "") for path in paths)))
    for path in paths:
        docs.pages[path] = Answer("", 503)
    pages = source(base, "sitemap", address=f"{docs.url}/sitemap.xml")
    look(pages)
    assert sum(len(docs.asked(path)) for path in paths) == running.UNREACHABLE
    assert pages.state == State.FAILED and "503" in pages.error


def test_runs_that_brought_nothing_are_kept_as_one(base, site):
    site.put("/a", "标题", "这一页说明如何重启网关服务以及需要注意的事项。")
    page = source(base, "web", address=f"{site.url}/a")
    for _run in range(5):
        look(page)
    assert [counts(run) for run in page.runs.all()] == [(0, 0, 1, 0, 0), (1, 0, 0, 0, 0)]


def test_a_bug_in_a_kind_does_not_leave_it_running(base, monkeypatch):
    def broken(self):
        raise RuntimeError

    monkeypatch.setattr(web.Page, "items", broken)
    page = source(base, "web", address="http://127.0.0.1/")
    source_tasks.refresh(page)
    with pytest.raises(RuntimeError):
        running.run(page.pk)
    page.refresh_from_db()
    assert page.state == State.FAILED and page.error


def test_another_kind_is_one_class(base, settings):
    settings.SOURCES = {"noticeboard": {"BACKEND": f"{__name__}.Noticeboard"}}
    board = Source.objects.create(knowledge_base=base, kind="noticeboard", name="告示")
    assert counts(look(board)) == (1, 0, 0, 0, 0)
    assert Document.objects.get().title == "停机通知"


class Noticeboard(Backend):
    label = "noticeboard"

    def items(self):
        yield running.Found("1", version="a")

    def fetch(self, item):
        return running.Content.text("# 停机通知\n\n周六停机。\n", name="停机通知.md")

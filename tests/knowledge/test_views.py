import io

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from PIL import Image

from knowledge import indexing, pages, uploading
from knowledge.models import Document, KnowledgeBase
from knowledge.parsing.document import Asset, Block, ParsedDocument

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    return settings.MEDIA_ROOT


@pytest.fixture
def base():
    return KnowledgeBase.objects.create(slug="ops", name="Ops", audience="visitors")


def add(base, content=b"# a\n\nb", name="a.md", **options):
    options = {"approved": True, **options}
    return uploading.add(base, file=ContentFile(content), name=name, **options).revision


def parsed(revision, *blocks, **more):
    document = ParsedDocument(blocks=list(blocks), **more)
    revision.status = "processing"
    indexing.put(revision, document)
    revision.refresh_from_db()
    return revision


def pdf():
    # Two pages, 200 × 100 points, with a text each; the offsets are left to the reader's repair.
    pages = b"".join(
        b"%d 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents %d 0 R"
        b"/Resources<</Font<</F 9 0 R>>>>>>endobj\n" % (3 + n, 5 + n)
        for n in range(2)
    )
    texts = b"".join(
        b"%d 0 obj<</Length 33>>stream\nBT /F 24 Tf 20 40 Td (page %d) Tj ET\nendstream endobj\n"
        % (5 + n, n + 1)
        for n in range(2)
    )
    return (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>endobj\n"
        + pages
        + texts
        + b"9 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\n"
        b"trailer<</Root 1 0 R>>\n%%EOF"
    )


def read(response):
    return b"".join(response.streaming_content) if response.streaming else response.content


def test_an_original_is_a_download_and_never_a_page_of_ours(client, base):
    revision = add(base, b"<html><body>x<script>alert(1)</script></body></html>", "页.html")
    response = client.get(f"/revisions/{revision.pk}/original")
    assert read(response).startswith(b"<html>")
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"].startswith("attachment")
    assert "%E9%A1%B5.html" in response["Content-Disposition"]
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert "private" in response["Cache-Control"]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://docs.example.com/a", "https://docs.example.com/a"),
        ("", None),
        ("javascript:alert(1)", None),
    ],
)
def test_a_page_of_the_web_leads_back_to_it(client, base, url, address):
    revision = parsed(add(base, url=url), Block("paragraph", "甲"))
    assert client.get(f"/revisions/{revision.pk}/").json()["address"] == address


def test_a_page_of_a_pdf_is_a_picture(client, base, files):
    revision = parsed(add(base, pdf(), "a.pdf"), Block("paragraph", "page 1", page=1), pages=2)
    facts = client.get(f"/revisions/{revision.pk}/").json()
    assert (facts["kind"], facts["pages"], facts["name"]) == ("image", 2, "a.pdf")
    first, second = (client.get(f"/revisions/{revision.pk}/pages/{n}.png") for n in (1, 2))
    image = Image.open(io.BytesIO(read(first)))
    assert image.format == "PNG" and image.size == (1400, 700)
    assert read(second) != read(client.get(f"/revisions/{revision.pk}/pages/1.png"))
    assert (files / "pages" / str(revision.pk) / "1.png").exists()
    for page in (0, 3, 999999999):
        assert client.get(f"/revisions/{revision.pk}/pages/{page}.png").status_code == 404


def test_a_page_is_not_sent_again_while_it_is_the_same(client, base):
    revision = parsed(add(base, pdf(), "a.pdf"), Block("paragraph", "page 1", page=1), pages=2)
    url = f"/revisions/{revision.pk}/pages/1.png"
    tag = client.get(url)["ETag"]
    assert client.get(url, headers={"If-None-Match": tag}).status_code == 304


def test_a_picture_is_drawn_anew(client, base):
    content = io.BytesIO()
    Image.new("P", (30, 20)).save(content, "GIF")
    revision = parsed(add(base, content.getvalue(), "a.gif"), Block("picture", page=1), pages=1)
    answer = client.get(f"/revisions/{revision.pk}/pages/1.png")
    assert Image.open(io.BytesIO(read(answer))).format == "PNG"


def test_a_hostile_pdf_costs_its_page_and_no_more(client, base):
    # As wide as a window, this page would be 2 million pixels high.
    huge = pdf().replace(b"[0 0 200 100]", b"[0 0 9 14400]")
    broken = b"%PDF-1.4\n" + bytes(range(256)) * 20
    tall = parsed(add(base, huge, "huge.pdf"), Block("paragraph", "x", page=1), pages=2)
    image = Image.open(io.BytesIO(read(client.get(f"/revisions/{tall.pk}/pages/1.png"))))
    assert image.width * image.height <= 12_000_000 and max(image.size) <= 8001
    bad = parsed(add(base, broken, "broken.pdf"), Block("paragraph", "x", page=1), pages=1)
    assert client.get(f"/revisions/{bad.pk}/pages/1.png").status_code == 404


def test_what_was_parsed_is_shown_as_clean_html(client, base):
    picture = Asset("picture", caption="登录页", media_type="image/png", data=b"\x89PNG")
    revision = parsed(
        add(base),
        Block("heading", "安装 <script>", level=2),
        Block("paragraph", "**粗** [链接](javascript:alert(1)) <img src=x onerror=alert(1)>"),
        Block("code", "if a < b; then\n  rm x\nfi", language="sh"),
        Block("formula", r"a < \frac{1}{2}"),
        Block("table", rows=[["键", "值"], ["<b>a</b>", "1"]], header_rows=1),
        Block("picture", asset=0),
        assets=[picture],
    )
    answer = client.get(f"/revisions/{revision.pk}/pages/1.html")
    html = answer.content.decode()
    assert '<h3 id="block-0">安装 &lt;script&gt;</h3>' in html
    assert "<strong>粗</strong>" in html
    assert "<img src=x" not in html and "<script" not in html and 'href="javascript' not in html
    assert '<code class="language-sh">if a &lt; b; then\n  rm x\nfi</code>' in html
    assert r"a &lt; \frac{1}{2}" in html
    assert '<tr data-row="0"><th>键</th>' in html
    assert '<tr data-row="1"><td>&lt;b&gt;a&lt;/b&gt;</td>' in html
    attachment = revision.attachments.get()
    assert f'<img src="/attachments/{attachment.pk}" alt="登录页"' in html
    shown = client.get(f"/attachments/{attachment.pk}")
    assert shown["Content-Type"] == "image/png" and read(shown) == b"\x89PNG"


def test_merged_cells_keep_their_spans(base):
    table = (
        '<table><tr><th colspan="2" onclick="x">a</th></tr><tr><td>b</td><td>c</td></tr></table>'
    )
    revision = parsed(
        add(base),
        Block("table", rows=[["a", ""], ["b", "c"]], header_rows=1, asset=0),
        assets=[Asset("table", html=table)],
    )
    html = pages.html(revision, 1)
    assert '<tr data-row="0"><th colspan="2">a</th></tr>' in html
    assert '<tr data-row="1"><td>b</td>' in html


def test_a_long_table_shows_the_rows_around_the_cited_one(client, base):
    rows = [["n"], *[[f"行{n}"] for n in range(1, 3001)]]
    revision = parsed(add(base), Block("table", rows=rows, header_rows=1))

    def shown(query):
        return client.get(f"/revisions/{revision.pk}/pages/1.html{query}").content.decode()

    assert ">行1<" in shown("") and ">行2500<" not in shown("")
    for query, row in (("?row=2500", "行2500"), ("?row=3000", "行3000"), ("?row=x", "行1")):
        assert f">{row}<" in shown(query) and shown(query).count("<tr") == pages.ROWS + 1


def test_pages_of_a_format_without_pages_have_200_blocks(client, base):
    revision = parsed(add(base), *[Block("paragraph", f"第{n}段") for n in range(450)])
    assert client.get(f"/revisions/{revision.pk}/").json()["pages"] == 3
    third = client.get(f"/revisions/{revision.pk}/pages/3.html").content.decode()
    assert 'id="block-400"' in third and 'id="block-399"' not in third
    assert client.get(f"/revisions/{revision.pk}/pages/4.html").status_code == 404


def test_sheets_are_pages_with_names(client, base):
    blocks = [Block("table", rows=[[name]], page=n) for n, name in enumerate(("甲", "乙"), 1)]
    revision = parsed(add(base), *blocks, pages=2, page_names=["甲", "乙"])
    facts = client.get(f"/revisions/{revision.pk}/").json()
    assert (facts["kind"], facts["page_names"]) == ("html", ["甲", "乙"])
    assert "乙" in client.get(f"/revisions/{revision.pk}/pages/2.html").content.decode()


def urls(revision):
    attachment = revision.attachments.get()
    root = f"/revisions/{revision.pk}"
    parts = ("/", "/original", "/pages/1.png", "/pages/1.html")
    return [*[root + part for part in parts], f"/attachments/{attachment.pk}"]


def statuses(client, revision):
    return {client.get(url).status_code for url in urls(revision)}


@pytest.fixture
def shown(base):
    asset = Asset("table", html="<table><tr><td>1</td></tr></table>")
    return parsed(
        add(base, pdf(), "a.pdf"),
        Block("table", rows=[["1"]], page=1, asset=0),
        pages=2,
        assets=[asset],
    )


def test_originals_follow_the_audience_of_their_base(client, base, shown):
    assert statuses(client, shown) == {200}
    base.audience = KnowledgeBase.Audience.GROUPS
    base.save()
    assert statuses(client, shown) == {404}
    client.force_login(User.objects.create(username="outsider"))
    assert statuses(client, shown) == {404}


def test_curators_see_what_is_not_approved_and_others_do_not(client, base, shown):
    Document.objects.update(approved_at=None)
    assert statuses(client, shown) == {404}
    curator = User.objects.create(username="curator", is_staff=True)
    curator.user_permissions.add(Permission.objects.get(codename="view_document"))
    client.force_login(curator)
    assert statuses(client, shown) == {200}


def test_a_page_nobody_may_change_by_a_form(client, shown):
    assert client.post(f"/revisions/{shown.pk}/").status_code == 405


def test_what_was_replaced_retired_or_has_expired_is_for_curators(client, base, admin_client):
    old = parsed(add(base, external_id="a"), Block("paragraph", "the password was hunter2"))
    new = parsed(add(base, b"# new", external_id="a"), Block("paragraph", "new"))
    urls = [f"/revisions/{row.pk}/original" for row in (old, new)]
    assert [client.get(url).status_code for url in urls] == [404, 200]
    uploading.retire(Document.objects.all(), "leaked")
    assert [client.get(url).status_code for url in urls] == [404, 404]
    uploading.restore(Document.objects.all())
    Document.objects.update(expires_on="2020-01-01")
    assert [client.get(url).status_code for url in urls] == [404, 404]
    assert [admin_client.get(url).status_code for url in urls] == [200, 200]

"""Fetching: politely towards the server, safely for this network."""

import gzip
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.cache import cache

from knowledge.sources import addresses
from knowledge.sources.fetching import Fetcher, Gone
from opsdesk.errors import FetchError
from tests.knowledge.web_server import Answer, web_server

pytestmark = pytest.mark.django_db


@pytest.fixture
def site(settings):
    settings.FETCH_PRIVATE, settings.FETCH_DELAY = ["127.0.0.1"], 0
    cache.clear()
    with web_server() as server:
        yield server


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def fetcher(pauses):
    with Fetcher(sleep=pauses.append) as fetcher:
        yield fetcher


def body(fetched):
    with fetched.content() as file:
        return file.read()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://017700000001/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.1.2.3/",
        "http://192.168.0.1/",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://[fec0::1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b:1::7f00:1]/",
        "http://192.0.0.192/",
    ],
)
def test_nothing_inside_this_network_is_connected_to(fetcher, settings, monkeypatch, url):
    settings.FETCH_PRIVATE = []
    monkeypatch.setattr(socket.socket, "connect", lambda *args: pytest.fail("connected"))
    with pytest.raises(FetchError) as refused:
        fetcher.get(url, robots=False)
    assert refused.value.permanent and "OPSDESK_FETCH_PRIVATE" in str(refused.value)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.com/", "http://", "gopher://x/", "http://a:b@x/"]
)
def test_only_plain_web_addresses_are_fetched(fetcher, url):
    with pytest.raises(FetchError) as refused:
        fetcher.get(url)
    assert refused.value.permanent


@pytest.mark.parametrize(
    ("host", "address", "private", "permitted"),
    [
        ("docs.example.com", "93.184.216.34", [], True),
        ("docs.example.com", "2606:2800:220:1::1", [], True),
        ("wiki.corp", "10.0.0.8", [], False),
        ("wiki.corp", "10.0.0.8", ["wiki.corp"], True),
        ("WIKI.corp", "10.0.0.8", [".corp"], True),
        ("evilcorp", "10.0.0.8", [".corp"], False),
        ("wiki.corp", "10.0.0.8", ["10.0.0.0/24"], True),
        ("wiki.corp", "10.0.1.8", ["10.0.0.0/24"], False),
        ("wiki.corp", "::ffff:10.0.0.8", ["10.0.0.0/24"], True),
        ("wiki.corp", "169.254.169.254", ["wiki.corp"], False),  # not even then
        ("wiki.corp", "fe80::1%eth0", ["wiki.corp"], False),
    ],
)
def test_intranet_hosts_are_allowed_one_by_one(settings, host, address, private, permitted):
    settings.FETCH_PRIVATE = private
    assert addresses.permitted(host, address) is permitted


def test_every_redirect_is_checked(site, fetcher):
    inside = "http://169.254.169.254/latest/meta-data/"
    site.pages["/"] = Answer(status=302, headers={"Location": inside})
    with pytest.raises(FetchError, match=r"169\.254"):
        fetcher.get(site.url)
    site.pages["/loop"] = Answer(status=301, headers={"Location": "/loop"})
    with pytest.raises(FetchError):
        fetcher.get(f"{site.url}/loop")
    assert len(site.asked("/loop")) == 6


def test_a_name_that_resolves_to_something_else_the_second_time_gains_nothing(
    site, fetcher, monkeypatch
):
    """What was checked is what is connected to: the name is resolved once a connection."""
    real, asked = socket.getaddrinfo, []

    def rebinding(host, port, *args, **kwargs):
        if host != "rebind.example":
            return real(host, port, *args, **kwargs)
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "169.254.169.254"
        return real(address, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    site.pages["/"] = Answer("hello")
    url = site.url.replace("127.0.0.1", "rebind.example")
    assert body(fetcher.get(url, robots=False)) == b"hello"
    assert asked == ["rebind.example"]
    assert site.log[0][2]["Host"].startswith("rebind.example")
    # A name with one address inside and one outside is refused as a whole.
    both = [*real("93.184.216.34", 80), *real("10.0.0.1", 80)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: both)
    with pytest.raises(FetchError):
        fetcher.get("http://both.example/", robots=False)


@pytest.fixture
def certificate(tmp_path):
    """A file with the key and certificate of wiki.test, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "wiki.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("wiki.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    path = tmp_path / "wiki.pem"
    path.write_bytes(pem)
    return path


def test_a_checked_address_is_greeted_by_its_name(site, settings, monkeypatch, certificate):
    """Pinned to an address, the connection still names the host: in TLS, and in its check."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    greeted = []
    context.sni_callback = lambda sock, name, context: greeted.append(name)
    site.socket = context.wrap_socket(site.socket, server_side=True)
    site.pages["/"] = Answer("hello")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *args, **kwargs: real("127.0.0.1", *args, **kwargs)
    )
    address = f"https://wiki.test:{site.server_port}/"
    with Fetcher(tries=1) as fetcher:
        assert body(fetcher.get(address, robots=False)) == b"hello"
        with pytest.raises(FetchError, match="certificate"):
            fetcher.get(address.replace("wiki.test", "other.test"), robots=False)
    assert greeted == ["wiki.test", "other.test"]


def test_what_did_not_change_is_not_sent_again(site, fetcher):
    site.pages["/a"] = Answer("one")
    first = fetcher.get(f"{site.url}/a")
    assert body(first) == b"one" and first.etag
    assert fetcher.get(f"{site.url}/a", etag=first.etag).file is None
    site.pages["/a"] = Answer("two")
    assert body(fetcher.get(f"{site.url}/a", etag=first.etag)) == b"two"


def test_robots_are_asked_once_and_obeyed(site, fetcher):
    site.pages["/robots.txt"] = Answer(
        "User-agent: *\nDisallow: /all\n\nUser-agent: OpsDeskBot\nDisallow: /secret\nAllow: /\n"
    )
    site.pages |= {"/secret/a": Answer("no"), "/all": Answer("yes"), "/b": Answer("yes")}
    with pytest.raises(FetchError, match=r"robots\.txt"):
        fetcher.get(f"{site.url}/secret/a")
    assert body(fetcher.get(f"{site.url}/all")) == body(fetcher.get(f"{site.url}/b")) == b"yes"
    assert len(site.asked("/robots.txt")) == 1 and not site.asked("/secret/a")


def test_a_redirect_into_what_robots_forbid_is_not_followed(site, fetcher):
    site.pages["/robots.txt"] = Answer("User-agent: *\nDisallow: /secret\n")
    site.pages["/a"] = Answer(status=302, headers={"Location": "/secret/a"})
    with pytest.raises(FetchError, match=r"robots\.txt"):
        fetcher.get(f"{site.url}/a")


def test_robots_that_cannot_be_had_forbid_for_now(site, pauses):
    site.pages |= {"/robots.txt": Answer("", 503), "/a": Answer("yes")}
    with Fetcher(sleep=pauses.append) as fetcher, pytest.raises(FetchError) as refused:
        fetcher.get(f"{site.url}/a")
    assert not refused.value.permanent and not site.asked("/a")


def test_a_server_is_not_asked_faster_than_it_likes(site, fetcher, pauses, settings):
    settings.FETCH_DELAY = 2
    site.pages |= {"/a": Answer("a"), "/b": Answer("b")}
    for path in ("/a", "/b"):
        fetcher.get(f"{site.url}{path}", robots=False)
    assert len(pauses) == 1 and 1.5 < pauses[0] <= 2
    pauses.clear()
    site.pages["/robots.txt"] = Answer("User-agent: *\nCrawl-delay: 7\n")
    for path in ("/a", "/b"):
        fetcher.get(f"{site.url}{path}")
    assert 6 < pauses[-1] <= 7


def test_a_busy_server_is_asked_again_when_it_says(site, fetcher, pauses):
    answers = [Answer("", 429, {"Retry-After": "3"}), Answer("", 503), Answer("there")]
    site.pages["/a"] = lambda handler: answers.pop(0)
    assert body(fetcher.get(f"{site.url}/a")) == b"there"
    assert pauses[0] == 3 and 1 <= pauses[1] <= 2


def test_a_long_wait_is_left_to_the_next_run(site, fetcher, pauses):
    site.pages["/a"] = Answer("", 429, {"Retry-After": "3600"})
    with pytest.raises(FetchError) as refused:
        fetcher.get(f"{site.url}/a")
    assert not refused.value.permanent and not pauses


@pytest.mark.parametrize(
    ("status", "error", "permanent"),
    [(404, Gone, True), (410, Gone, True), (401, FetchError, True), (500, FetchError, False)],
)
def test_refusals_are_told_apart(site, fetcher, status, error, permanent):
    site.pages["/a"] = Answer("", status)
    with pytest.raises(FetchError) as refused:
        fetcher.get(f"{site.url}/a")
    assert type(refused.value) is error or not permanent
    assert refused.value.permanent is permanent


def test_headers_that_make_no_sense_stop_nothing_else(site, fetcher):
    site.pages["/a"] = Answer("", 302, {"Location": "http://[nowhere/"})
    with pytest.raises(FetchError) as refused:
        fetcher.get(f"{site.url}/a", robots=False)
    assert refused.value.permanent
    site.pages["/b"] = Answer(b"b", headers={"ETag": '"\xe9"'}, etag=False)
    fetched = fetcher.get(f"{site.url}/b", robots=False)
    assert body(fetched) == b"b" and fetched.etag == ""


def test_a_file_that_is_too_large_is_broken_off(site, fetcher, settings):
    settings.UPLOAD_MAX_BYTES = 1000
    site.pages["/a"] = Answer(b"x" * 1001)
    with pytest.raises(FetchError):
        fetcher.get(f"{site.url}/a")
    site.pages["/b"] = Answer(b"x" * 1000)
    assert len(body(fetcher.get(f"{site.url}/b"))) == 1000


def test_a_bomb_is_broken_off_as_soon_as_it_is_too_large(site, fetcher, settings):
    settings.UPLOAD_MAX_BYTES = 100_000
    packed = gzip.compress(bytes(50_000_000))
    site.pages["/a"] = Answer(packed, headers={"Content-Encoding": "gzip"})
    with pytest.raises(FetchError):
        fetcher.get(f"{site.url}/a")
    site.pages["/b"] = Answer(packed, headers={"Content-Encoding": "gzip, gzip"})
    with pytest.raises(FetchError):
        fetcher.get(f"{site.url}/b")
    site.pages["/c"] = Answer(gzip.compress(b"packed"), headers={"Content-Encoding": "gzip"})
    assert body(fetcher.get(f"{site.url}/c")) == b"packed"


def test_a_trickle_ends_at_the_deadline(site):
    def trickle(handler):
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _byte in range(1000):
            try:
                handler.wfile.write(b"x")
            except OSError:
                break
            time.sleep(0.05)

    site.pages["/a"] = trickle
    started = time.monotonic()
    with Fetcher(tries=1, seconds=0.4) as fetcher, pytest.raises(FetchError) as refused:
        fetcher.get(f"{site.url}/a", robots=False)
    assert time.monotonic() - started < 20 and not refused.value.permanent


@pytest.mark.parametrize(
    ("headers", "url", "name"),
    [
        ({}, "/files/%E6%89%8B%E5%86%8C.pdf?x=1", "手册.pdf"),
        ({"Content-Disposition": 'attachment; filename="a.xlsx"'}, "/x", "a.xlsx"),
        ({"Content-Disposition": "attachment; filename*=UTF-8''%E8%A1%A8.csv"}, "/x", "表.csv"),
    ],
)
def test_a_file_has_the_name_that_the_server_gives_it(site, fetcher, headers, url, name):
    site.pages[url] = Answer("x", headers=headers)
    assert fetcher.get(site.url + url).name == name

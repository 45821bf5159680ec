"""Screenshots and logs that come with a message: taken, kept, shown, read, cleaned away."""

import io
import os
import uuid
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.core.signing import Signer
from django.test import Client
from django.utils import timezone
from PIL import Image, ImageDraw, ImageFont

from chat import asking, runner, screenshots, uploads
from chat.models import Conversation, Message, Turn, Upload
from knowledge.parsing import ocr
from knowledge.parsing.document import Block
from opsdesk.errors import BoundaryError, ModelError, ParseError
from tests.chat.conftest import permission

VISITOR = "v" * 32


def client(visitor=VISITOR):
    one = Client()
    one.cookies["opsdesk_visitor"] = Signer(salt="visitor").sign(visitor)
    return one


def png(size=(80, 40), **options):
    made = io.BytesIO()
    Image.new("RGB", size, "white").save(made, options.pop("format", "PNG"), **options)
    return made.getvalue()


def post(data, name="x.png", who=None, **extra):
    file = io.BytesIO(data)
    file.name = name
    return (who or client()).post("/uploads/", {"file": file}, **extra)


@pytest.fixture
def reads(monkeypatch):
    """What text recognition would read; an error to raise instead."""
    said = []

    def recognise(data, seconds):
        if isinstance(said[0], Exception):
            raise said[0]
        return [Block("paragraph", text, box=(0.1, 0.5, 0.9, 0.9)) for text in said]

    monkeypatch.setattr("knowledge.parsing.recognise", recognise)
    return said


# --- taking


def test_a_picture_is_kept_drawn_anew_and_shown_to_who_sent_it(db):
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    data = png(format="JPEG", exif=exif, comment=b"hidden") + b"<script>alert(1)</script>"
    answer = post(data, "../../照片.png")
    told = answer.json()
    assert answer.status_code == 201
    assert {**told, "id": 0, "url": 0} == {
        "id": 0, "kind": "picture", "name": "照片.png", "size": len(data), "width": 80,
        "height": 40, "state": "waiting", "url": 0,
    }  # fmt: skip
    shown = client().get(told["url"])
    content = b"".join(shown.streaming_content)
    assert shown["Content-Type"] == "image/jpeg"
    assert shown["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in shown["Content-Security-Policy"]
    assert not any(left in content for left in (b"SecretCamera", b"hidden", b"script"))


def test_a_text_is_kept_and_shown_as_text_whatever_it_holds(db):
    told = post("<html><script>错误</script>".encode(), "app.html").json()
    assert (told["kind"], told["state"]) == ("text", "read")
    shown = client().get(told["url"])
    assert shown["Content-Type"] == "text/plain; charset=utf-8"
    assert "错误" in shown.content.decode()


def bmp():
    return png(format="BMP")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "empty"),
        (b"   ", 400, "empty"),
        (png()[:60], 400, "broken"),
        (bmp(), 415, "type"),
        (b"MZ" + bytes(200), 415, "type"),
        (b"PK\x03\x04" + bytes(range(256)), 415, "type"),
        (b"\x89PNG\r\n\x1a\n" + b"no picture" * 9, 400, "broken"),
        (b"a" * 64_001, 413, "too_long"),
        (b"GIF89a" + bytes(range(256)) * 5000, 413, "too_large"),
    ],
)
def test_what_cannot_be_taken_is_refused_by_its_bytes(db, settings, data, status, code):
    settings.CHAT_UPLOAD_MAX_BYTES = 1024**2
    answer = post(data, "x.png")
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert answer.json()["detail"]
    assert not Upload.objects.exists()


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked(db, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_PIXELS", 100)
    monkeypatch.setattr(uploads, "_drawn", pytest.fail)
    assert post(png()).json()["error"] == "huge_picture"


def test_who_is_nobody_sends_nothing_and_nobody_sends_too_much(db, monkeypatch):
    assert post(png(), who=Client()).status_code == 403
    monkeypatch.setattr("chat.upload_views.A_MINUTE", 1)
    assert [post(png()).status_code for _ in range(2)] == [201, 429]


def test_a_page_of_another_site_cannot_send(db):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client().cookies
    assert post(png(), who=strict).status_code == 403


def scan(file):
    if file.read().startswith(b"EICAR"):
        return "Eicar-Test"
    raise BoundaryError("clamd is away", permanent=False)


def test_a_scanner_is_asked_first(db, settings):
    settings.CHAT_UPLOAD_SCAN = f"{__name__}.scan"
    assert post(b"EICAR test").json()["error"] == "infected"
    assert post(png()).status_code == 503  # who cannot be asked lets nothing in


# --- whose it is


def test_only_its_sender_and_who_reads_the_conversation_gets_it(base, conversation, admin_user):
    pk = post(png()).json()["id"]
    url = f"/uploads/{pk}/"
    assert client("w" * 32).get(url).status_code == Client().get(url).status_code == 404
    asking.ask(conversation, "看图", uploaded=[pk])
    assert client("w" * 32).get(url).status_code == 404
    assert client().get(url).status_code == 200
    staff = Client()
    staff.force_login(admin_user)
    assert staff.get(url).status_code == 200
    admin_user.is_superuser = False
    admin_user.save()
    assert staff.get(url).status_code == 404
    admin_user.user_permissions.add(permission("chat.view_conversation"))
    assert staff.get(url).status_code == 200


def test_what_is_not_sent_yet_can_be_taken_back_by_its_sender(db, conversation):
    url = post(png()).json()["url"]
    assert client("w" * 32).delete(url).status_code == 404
    name = Upload.objects.get().file.name
    assert client().delete(url).status_code == 204
    assert not default_storage.exists(name)


def test_who_is_signed_in_sends_from_a_frame_as_its_visitor(conversation, admin_user):
    """In the frame of a site nobody is signed in, though the browser sends the cookie."""
    Conversation.objects.filter(pk=conversation.pk).update(visitor=VISITOR)
    conversation.refresh_from_db()
    staff = client()
    staff.force_login(admin_user)
    file = io.BytesIO(png())
    file.name = "x.png"
    sent = staff.post("/uploads/?site=k", {"file": file}).json()
    asking.ask(conversation, "看图", uploaded=[sent["id"]])
    assert Upload.objects.get().message and staff.get(sent["url"]).status_code == 200


def test_nobody_sends_what_another_uploaded_or_what_was_sent_already(db, conversation):
    mine, theirs = (post(png(), who=client(who)).json()["id"] for who in (VISITOR, "w" * 32))
    asking.ask(conversation, "看图", uploaded=[mine])
    for ids in ([theirs], [mine], [str(uuid.uuid4())], ["no id"], [theirs] * 2):
        with pytest.raises(uploads.Refused):
            asking.ask(conversation, "再看", uploaded=ids)
    assert Message.objects.count() == 1
    with pytest.raises(uploads.Refused, match="4"):
        asking.ask(conversation, "多", uploaded=[str(uuid.uuid4()) for _ in range(5)])


# --- reading


def ask(conversation, text="", **more):
    asking.ask(conversation, text, **more)
    runner.run_waiting()
    return Turn.objects.select_related("reply").latest("pk")


def test_what_a_screenshot_says_is_looked_for(base, conversation, reads):
    reads[:] = ["磁盘使用率超过 90%", "电话 13812345678"]
    turn = ask(conversation, uploaded=[post(png()).json()["id"]])
    assert turn.outcome == "answered"
    assert "df -h" in turn.reply.text
    upload = Upload.objects.get()
    assert (upload.state, upload.read_by) == ("read", "ocr")
    assert "13812345678" in upload.text  # as it was sent, for who takes over
    assert "13812345678" not in str(turn.trace)


def test_a_picture_that_cannot_be_read_is_told_and_the_words_are_answered(
    base, conversation, reads
):
    reads[:] = [ParseError("timeout", permanent=False)]
    turn = ask(conversation, "数据库备份保留多久？", uploaded=[post(png()).json()["id"]])
    assert turn.reply.text.startswith("没能读出 x.png")
    assert "14 天" in turn.reply.text
    reads[:] = []  # a second attempt would raise
    assert not screenshots.waiting(turn.message).exists()


class Seeing:
    model = "seeing"
    asked: list = []

    def describe(self, picture, seconds=None):
        self.asked.append(picture)
        if len(self.asked) > 1:
            raise ModelError("away", permanent=False)
        return "一张磁盘使用率告警的截图。"


def test_a_vision_model_sees_no_secret(base, conversation, reads, settings):
    settings.BACKENDS = {**settings.BACKENDS, "vision": {"BACKEND": f"{__name__}.Seeing"}}
    reads[:] = ["密码：Abc@1234"]
    ask(conversation, "怎么办", uploaded=[post(png((100, 100))).json()["id"]])
    (picture,) = Seeing.asked
    assert "Abc@1234" not in picture.text
    with Image.open(io.BytesIO(picture.data)) as image:
        assert image.getpixel((50, 70)) == (0, 0, 0)
        assert image.getpixel((50, 20)) == (255, 255, 255)
    first = Upload.objects.get()
    assert (first.read_by, "截图" in first.text) == ("seeing", True)
    ask(conversation, "再看", uploaded=[post(png((100, 100))).json()["id"]])
    assert Upload.objects.latest("created_at").read_by == "ocr"  # the model failed
    turn = Turn.objects.latest("pk")
    assert "no_vision" in turn.trace["degraded"]
    assert "no_vision" in turn.reply.data["degraded"]


def test_a_picture_without_words_is_not_sent_to_a_vision_model(
    base, conversation, reads, settings, monkeypatch
):
    monkeypatch.setattr(Seeing, "asked", [])
    settings.BACKENDS = {**settings.BACKENDS, "vision": {"BACKEND": f"{__name__}.Seeing"}}
    monkeypatch.setattr("knowledge.parsing.recognise", lambda data, seconds: [])
    turn = ask(conversation, "怎么办", uploaded=[post(png()).json()["id"]])
    assert (Seeing.asked, turn.trace.get("degraded")) == ([], None)


def test_half_a_secret_in_the_next_paragraph_is_covered_too():
    blocks = [Block("paragraph", text, box=(0, n / 3, 1, (n + 1) / 3))
              for n, text in enumerate(("正常", "密码", "Abcd1234"))]  # fmt: skip
    with Image.open(io.BytesIO(screenshots.covered(png((90, 90)), blocks))) as image:
        assert [image.getpixel((45, y)) for y in (10, 50, 80)] == [
            (255, 255, 255),
            (0,) * 3,
            (0,) * 3,
        ]


def test_what_nobody_could_recognise_is_covered():
    blocks = [Block("paragraph", "正常", box=(0, 0, 1, 0.3)),
              Block("paragraph", "x#", box=(0, 0.6, 1, 0.9), hidden=True)]  # fmt: skip
    with Image.open(io.BytesIO(screenshots.covered(png((90, 90)), blocks))) as image:
        assert [image.getpixel((45, y))[0] for y in (10, 68)] == [255, 0]


@pytest.mark.parametrize("degrees", [3, -3])
def test_the_words_of_a_crooked_picture_are_found_where_they_stand(degrees):
    image = Image.new("RGB", (1200, 500), "white")
    font = ImageFont.load_default(size=40)
    for n in range(4):
        ImageDraw.Draw(image).text(
            (60, 60 + 110 * n), "the service does not start after an upgrade", "black", font
        )
    image = image.rotate(degrees, fillcolor="white", resample=Image.Resampling.BICUBIC)

    def dark():
        return sum(image.convert("L").histogram()[:128])

    before = dark()
    for block in ocr.recognise(image, ocr.PICTURE):
        left, top, right, bottom = block.box
        place = (left * 1200 - 4, top * 500 - 4, right * 1200 + 4, bottom * 500 + 4)
        ImageDraw.Draw(image).rectangle(place, "white")
    assert dark() < before / 100


def test_a_screenshot_is_really_read(db, conversation):
    image = Image.new("RGB", (900, 160), "white")
    font = ImageFont.load_default(size=44)
    ImageDraw.Draw(image).text((20, 50), "ORA-01653 unable to extend table", "black", font)
    made = io.BytesIO()
    image.save(made, "PNG")
    pk = post(made.getvalue()).json()["id"]
    message, _turn = asking.ask(conversation, "", uploaded=[pk])
    screenshots.read(screenshots.waiting(message), float("inf"))
    assert "ORA-01653" in Upload.objects.get().text


# --- long texts


def test_a_log_that_is_too_long_for_a_message_is_kept_beside_it(base, conversation):
    tick = "2024-05-01 10:00:00 INFO [main] c.e.App - tick\n" * 100
    log = f"磁盘使用率超过 90% 怎么办？\n{tick}2024-05-01 10:00:01 ERROR No space left on device\n"
    turn = ask(conversation, log)
    assert len(turn.message.text) <= asking.MESSAGE_LENGTH
    (kept,) = turn.message.uploads.all()
    assert (kept.kind, kept.text) == ("text", log)
    assert "No space left on device" in turn.trace["attached"], turn.trace
    assert (turn.outcome, "df -h" in turn.reply.text) == ("answered", True), turn.trace


# --- cleaning


def test_what_was_never_sent_and_files_without_a_row_are_cleaned_away(db, conversation):
    sent, fresh, old, gone = (post(png()).json()["id"] for _ in range(4))
    asking.ask(conversation, "看图", uploaded=[sent, gone])
    before = timezone.now() - timedelta(days=2)
    Upload.objects.filter(pk=old).update(created_at=before)
    name = Upload.objects.get(pk=gone).file.name
    Upload.objects.filter(pk=gone).delete()
    os.utime(default_storage.path(name), (before.timestamp(),) * 2)
    assert uploads.clean() == 2
    assert {str(pk) for pk in Upload.objects.values_list("pk", flat=True)} == {sent, fresh}
    assert len(default_storage.listdir("uploads")[1]) == 2
    Conversation.objects.all().delete()
    assert uploads.clean() == 0  # its file is not old enough to be sure that nobody writes it

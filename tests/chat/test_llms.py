import time

import pytest

from chat.llms import CutError, OpenAIModel, SilentError
from opsdesk.errors import ModelError

pytestmark = pytest.mark.django_db  # that it is left alone is written down


@pytest.fixture
def model(fake):
    return OpenAIModel(
        base_url=fake.url, api_key="none", model="fake", temperature=0.2, timeout=10.0
    )


def words(model, seconds=30, **options):
    deadline = time.monotonic() + seconds
    return "".join(model.stream([{"role": "user", "content": "?"}], deadline=deadline, **options))


def test_words_come_as_they_are_made(fake, model):
    fake.script = ["先看 `df -h`。[1]"]
    assert words(model) == "先看 `df -h`。[1]"
    request = fake.requests[0]
    assert (request["model"], request["temperature"], request["stream"]) == ("fake", 0.2, True)


@pytest.mark.parametrize("trouble", [500, 503, 429, "garbage", "empty"])
def test_trouble_before_the_first_word_is_tried_again(fake, model, trouble):
    fake.script = [trouble, "好。"]
    assert words(model) == "好。"
    assert len(fake.requests) == 2


def test_a_refusal_is_not_tried_again(fake, model):
    fake.script = [401]
    with pytest.raises(ModelError) as caught:
        words(model)
    assert caught.value.permanent
    assert len(fake.requests) == 1


@pytest.mark.parametrize("trouble", ["stall", "break"])
def test_after_the_first_word_nothing_is_tried_again(fake, model, trouble):
    model.first_timeout, fake.script = 0.5, [trouble]
    with pytest.raises(ModelError):
        words(model)
    assert len(fake.requests) == 1


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_words_that_were_cut_are_not_all(fake, model, finish):
    fake.finish, fake.script = finish, ["先看 `df"]
    for _time in range(3):  # and the server is none the worse for it
        pieces = model.stream([{"role": "user", "content": "?"}], deadline=time.monotonic() + 30)
        assert next(pieces)
        with pytest.raises(CutError):
            list(pieces)
    assert len(fake.requests) == 3


def test_how_much_may_be_written_is_said_where_the_server_knows_it(fake, model):
    words(model)
    model.max_tokens = 300
    words(model)
    fake.refuses = {"max_tokens"}
    words(model)
    assert [request.get("max_tokens") for request in fake.requests] == [None, 300, 300, None]
    assert fake.requests[-1]["stream_options"]  # else it is asked as before


def test_no_pause_goes_beyond_the_deadline(fake, model, monkeypatch):
    monkeypatch.setattr("tenacity.wait.random.uniform", lambda low, high: 60.0)
    fake.script = [500]
    begun = time.monotonic()
    with pytest.raises(ModelError):
        words(model)
    assert time.monotonic() - begun < 30 and len(fake.requests) == 1


@pytest.mark.parametrize("trouble", ["silence", "stall", "heartbeat", 500])
def test_a_deadline_holds(fake, model, trouble):
    model.timeout = 30
    fake.script = [trouble]
    begun = time.monotonic()
    with pytest.raises(ModelError):
        words(model, seconds=0.7)
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("trouble", ["silence", "heartbeat"])
def test_a_silent_model_is_waited_for_once_and_not_long(fake, model, trouble):
    model.timeout, model.first_timeout = 30, 0.3
    fake.script = [trouble]
    begun = time.monotonic()
    with pytest.raises(SilentError):
        words(model)
    assert time.monotonic() - begun < 15 and len(fake.requests) == 1


def test_who_thinks_is_not_silent(fake, model):
    model.timeout, model.first_timeout = 30, 2
    fake.script = [{"think": 3, "say": "好。"}]
    assert words(model) == "好。"


def test_a_model_that_keeps_failing_is_left_alone(fake, model):
    fake.script = [500]
    for _try in range(2):
        with pytest.raises(ModelError):
            words(model)
    asked = len(fake.requests)
    with pytest.raises(ModelError) as caught:
        words(model)
    assert len(fake.requests) == asked
    assert "暂停" in str(caught.value)


def test_what_is_no_longer_wanted_is_stopped(fake, model):
    fake.script = ["一二三四五六七八九"]
    with pytest.raises(ModelError):
        words(model, cancelled=lambda: True)


# --- one JSON object

COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}
RED = {"colour": "red"}


def colour(model, seconds=30, **options):
    messages = [{"role": "system", "content": "?"}, {"role": "user", "content": "?"}]
    deadline = time.monotonic() + seconds
    return model.structured(messages, COLOUR, name="colour", deadline=deadline, **options)


def forms(fake):
    return [request.get("response_format", {}).get("type", "") for request in fake.requests]


def test_json_is_asked_for_by_its_schema(fake, model):
    fake.structured["colour"] = RED
    told = []
    assert colour(model, report=told.append) == RED
    wanted = fake.requests[0]["response_format"]["json_schema"]
    assert (wanted["name"], wanted["schema"], wanted["strict"]) == ("colour", COLOUR, True)
    assert (told[0].way, told[0].tokens_in, told[0].tokens_out) == ("json_schema", 7, 5)


@pytest.mark.parametrize(
    ("refuses", "asked"),
    [
        ({"json_schema"}, ["json_schema", "json_object"]),
        ({"json_schema", "json_object"}, ["json_schema", "json_object", ""]),
        ({"json_schema", "json_object", "stream_options"}, ["json_schema", "json_object", "", ""]),
    ],
)
def test_what_the_server_refused_is_not_asked_again(fake, model, refuses, asked):
    fake.refuses, fake.structured["colour"] = refuses, RED
    assert colour(model) == colour(model) == RED
    assert forms(fake) == [*asked, asked[-1]]
    assert '"enum":["red","blue"]' in fake.requests[-1]["messages"][0]["content"]


def test_a_request_that_is_refused_in_every_way_says_nothing_about_the_ways(fake, model):
    fake.structured["colour"] = [400, 400, 400, 400, RED]
    with pytest.raises(ModelError) as caught:
        colour(model)
    assert caught.value.permanent
    assert colour(model) == RED
    assert forms(fake)[-1] == "json_schema"


@pytest.mark.parametrize(
    "said",
    [
        'Sure! {"colour": "red"} is it.',
        '```json\n{"colour":\n"red"}\n```',
        '<think>{"colour": "green"}? {no}</think>{"colour": "red"}',
    ],
)
def test_the_object_is_found_in_a_text(fake, model, said):
    fake.structured["colour"] = said
    assert colour(model) == RED


@pytest.mark.parametrize(
    "trouble",
    [500, 429, "garbage", "break", "empty", "[1]", '{"colour": "re', '{"colour": "green"}',
     '{"colour": "red", "more": "\\u0000"}'],
)  # fmt: skip
def test_what_is_not_the_object_is_asked_for_again(fake, model, trouble):
    fake.structured["colour"] = [trouble, RED]
    assert colour(model) == RED
    assert forms(fake) == ["json_schema"] * 2


@pytest.mark.parametrize("trouble", ["silence", "stall", "heartbeat", "garbage", 500])
def test_json_is_not_waited_for_beyond_the_deadline(fake, model, trouble):
    model.timeout = 30
    fake.structured["colour"] = trouble
    begun = time.monotonic()
    with pytest.raises(ModelError):
        colour(model, seconds=0.7)
    assert time.monotonic() - begun < 15


def test_a_refusal_does_not_count_as_a_failure(fake, model):
    fake.structured["colour"] = 400
    for _try in range(2):
        with pytest.raises(ModelError):
            colour(model)
    assert words(model) == "你好。[1]"

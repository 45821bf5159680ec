import pytest

from opsdesk import checks
from opsdesk.env import Environment, Problem


def ids(messages):
    return [message.id for message in messages]


def test_problems_and_unknown_names_of_the_environment(settings):
    settings.ENVIRONMENT = Environment(
        {"OPSDESK_TYPO": "1"}, problems=[Problem("X", "X is 'y'.", "Use z.")]
    )
    found = checks.environment(None)
    assert ids(found) == ["opsdesk.E001", "opsdesk.W002"]
    assert found[0].hint == "Use z." and "OPSDESK_TYPO" in found[1].msg


@pytest.mark.parametrize(
    ("temperature", "forced", "expected"),
    [(0.1, False, []), (0.3, False, []), (0.31, False, ["opsdesk.E003"]), (1.0, True, [])],
)
def test_temperature_stays_low_unless_forced(settings, temperature, forced, expected):
    settings.OPENAI_TEMPERATURE = temperature
    settings.OPENAI_TEMPERATURE_FORCED = forced
    assert ids(checks.language_model(None)) == expected


@pytest.mark.parametrize(("url", "model"), [("http://m/v1", ""), ("", "qwen")])
def test_address_and_model_belong_together(settings, url, model):
    settings.OPENAI_BASE_URL, settings.OPENAI_MODEL = url, model
    assert ids(checks.language_model(None)) == ["opsdesk.E004"]


def test_an_embedding_server_needs_a_model(settings):
    settings.EMBEDDER = "openai"
    assert ids(checks.embedder(None)) == ["opsdesk.E005"]
    settings.OPENAI_EMBEDDING_MODEL, settings.OPENAI_EMBEDDING_BASE_URL = "m", "http://m/v1"
    assert not ids(checks.embedder(None))


def test_bge_m3_needs_its_package_and_weights(settings, tmp_path, monkeypatch):
    settings.EMBEDDER, settings.MODEL_CACHE = "bge-m3", str(tmp_path)
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    assert ids(checks.embedder(None)) == ["opsdesk.E006", "opsdesk.E007"]
    monkeypatch.undo()
    (tmp_path / "config.json").write_text("{}")
    assert "opsdesk.E007" not in ids(checks.embedder(None))


def test_a_reranker_needs_its_server_or_its_package(settings, monkeypatch):
    settings.RERANKER = "endpoint"
    assert ids(checks.reranker(None)) == ["opsdesk.E014"]
    settings.RERANK_MODEL, settings.RERANK_URL = "m", "http://m/v1"
    assert not ids(checks.reranker(None))
    settings.RERANKER = "bge-reranker"
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    assert ids(checks.reranker(None)) == ["opsdesk.E015"]


def test_a_task_never_runs_twice_at_once(settings):
    assert not ids(checks.queue(None))
    clusters = {"short": {"timeout": 60, "retry": 60}}
    settings.Q_CLUSTER = settings.Q_CLUSTER | {"retry": 10, "ALT_CLUSTERS": clusters}
    assert ids(checks.queue(None)) == ["opsdesk.E008", "opsdesk.E008"]


def test_debug_is_for_this_machine(settings):
    settings.DEBUG, settings.HOST, settings.DATABASE_URL = True, "127.0.0.1", ""
    assert not ids(checks.production(None))
    settings.HOST = "0.0.0.0"
    assert ids(checks.production(None)) == ["opsdesk.W009"]


@pytest.mark.django_db
def test_connections_are_counted_against_the_server(settings):
    assert not ids(checks.database_connections(None, databases=["default"]))
    settings.PROCESSES = {"web": {"COMMAND": ["web"], "CONNECTIONS": 500}}
    (found,) = checks.database_connections(None, databases=["default"])
    assert found.id == "opsdesk.W011" and "505" in found.msg
    assert not ids(checks.database_connections(None))

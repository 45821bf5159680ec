import stat
import threading

import pytest

from opsdesk.env import Environment
from opsdesk.secret import secret_key

DATABASE = "postgresql://u%40x:p%2Fw@db.example:6543/desk?sslmode=require&connect_timeout=5"


@pytest.mark.parametrize(
    ("method", "raw", "arguments", "value"),
    [
        ("flag", "Yes", (False,), True),
        ("flag", " off ", (True,), False),
        ("integer", "8", (1, 0, 10), 8),
        ("number", ".25", (1.0, 0.0, 1.0), 0.25),
        ("choice", "b", ("a", ("a", "b")), "b"),
        ("words", " a, b,,", (), ["a", "b"]),
        ("time_zone", "Europe/Berlin", ("UTC",), "Europe/Berlin"),
        ("url", "http://127.0.0.1:8080/v1/", (), "http://127.0.0.1:8080/v1"),
        ("text", "", ("default",), "default"),
    ],
)
def test_good_values(method, raw, arguments, value):
    environment = Environment({"X": raw})
    assert getattr(environment, method)("X", *arguments) == value
    assert not environment.problems


@pytest.mark.parametrize(
    ("method", "raw", "arguments"),
    [
        ("flag", "ja", (True,)),
        ("integer", "1_0", (1, 0, 10)),
        ("integer", "11", (1, 0, 10)),
        ("integer", "２", (1, 0, 10)),
        ("number", "nan", (1.0, 0.0, 1.0)),
        ("choice", "c", ("a", ("a", "b"))),
        ("time_zone", "Asia", ("UTC",)),
        ("time_zone", "../etc/passwd", ("UTC",)),
        ("url", "127.0.0.1:8080", ("http://default",)),
        ("url", "http://host:port/", ("http://default",)),
    ],
)
def test_wrong_values_are_problems_and_the_default_holds(method, raw, arguments):
    environment = Environment({"X": raw})
    assert getattr(environment, method)("X", *arguments) == arguments[0]
    (problem,) = environment.problems
    assert problem.name == "X" and problem.hint


def test_a_database_url_with_everything():
    assert Environment({"D": DATABASE}).database("D") == {
        "NAME": "desk", "USER": "u@x", "PASSWORD": "p/w", "HOST": "db.example", "PORT": "6543",
        "OPTIONS": {"sslmode": "require", "connect_timeout": "5"},
    }  # fmt: skip


def test_a_database_url_by_socket():
    database = Environment({"D": "postgres:///desk?host=/run/pg&port=5433"}).database("D")
    assert (database["HOST"], database["PORT"], database["OPTIONS"]) == ("/run/pg", "5433", {})


def test_a_wrong_database_url_does_not_show_its_password():
    environment = Environment({"D": "mysql://root:hunter2@db/desk"})
    assert environment.database("D") == {}
    assert "hunter2" not in environment.problems[0].message


def test_unknown_names_are_found():
    environment = Environment({"OPSDESK_PROT": "1", "OPSDESK_PORT": "1", "OPSDESK_DATA": "x"})
    environment.integer("OPSDESK_PORT", 8000, 1, 65535)
    assert environment.unknown() == ["OPSDESK_PROT"]


def test_all_who_start_at_once_get_the_same_secret(tmp_path):
    barrier, keys = threading.Barrier(8), []

    def ask():
        barrier.wait()
        keys.append(secret_key(tmp_path / "home"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8 and len(set(keys)) == 1 and len(keys[0]) >= 50
    path = tmp_path / "home" / "secret.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["secret.key"]


def test_a_mail_server():
    env = Environment({"A": "smtp://u:p%40@mail:587", "B": "smtps://mail", "C": "mail:25"})
    assert env.mail("A") == {
        "HOST": "mail", "PORT": 587, "USER": "u", "PASSWORD": "p@", "TLS": True, "SSL": False,
    }  # fmt: skip
    assert (env.mail("B")["PORT"], env.mail("B")["SSL"]) == (465, True)
    assert env.mail("C")["HOST"] == "localhost"
    assert [problem.name for problem in env.problems] == ["C"]

"""One command for everything: database, web server, workers."""

import socket
import time
from threading import Event, Thread
from typing import Any
from unicodedata import east_asian_width

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection
from django.urls import reverse
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from opsdesk import health, postgres, processes
from opsdesk.installing import ADMINISTRATOR, prepare

WEB_FIRST_SECONDS = 2  # the page answers sooner when it need not share the processor
READY_SECONDS = 60  # then the addresses are told although something is missing
PORT_SECONDS = 3  # a killed predecessor may hold the port for a moment


class Command(BaseCommand):
    help = "Start the database when it is embedded, the web server and the workers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", help="Address to listen on (OPSDESK_HOST).")
        parser.add_argument("--port", type=int, help="Port to listen on (OPSDESK_PORT).")

    def handle(self, *args: Any, **options: Any) -> None:
        host = options["host"] or settings.HOST
        port = options["port"] or settings.PORT
        try:
            with processes.alone(settings.HOME / "serve.lock"):
                check_port(host, port)
                self.run(host, port)
        except processes.AlreadyRunning as error:
            raise CommandError(
                _("OpsDesk already runs from %(home)s (process %(pid)s).")
                % {"home": settings.HOME, "pid": error}
            ) from error
        except (postgres.PostgresError, DatabaseError) as error:
            raise CommandError(str(error).strip()) from error

    def run(self, host: str, port: int) -> None:
        stop = Event()
        processes.stop_on_signals(stop)
        if not settings.DATABASE_URL:
            self.stdout.write(
                _("Database: the embedded PostgreSQL in %(home)s. Production sets DATABASE_URL.")
                % {"home": postgres.running_server().data}
            )
        password = prepare()
        children = processes.configured()
        for child in children:
            child.environment |= {"OPSDESK_HOST": host, "OPSDESK_PORT": str(port)}
            if child.environment["OPSDESK_ROLE"] != "web":
                child.due = time.monotonic() + WEB_FIRST_SECONDS
            if child.queue:  # whoever worked on it died with the last `serve`
                processes.release_tasks(child.queue)
        telling = Thread(target=self.announce, args=(host, port, password, stop), daemon=True)
        telling.start()
        processes.supervise(children, stop)
        telling.join()
        self.stdout.write(_("Stopped."))

    def announce(self, host: str, port: int, password: str | None, stop: Event) -> None:
        """Say where to go and how to get in: last, when all that starts has started, so that it
        is not lost among what that logs."""
        until = time.monotonic() + READY_SECONDS
        first = password is not None
        while not (answers(host, port) and (ready(first) or time.monotonic() > until)):
            if stop.wait(0.2):
                break
        address = f"http://{f'[{reachable(host)}]' if ':' in host else reachable(host)}:{port}"
        lines = {} if stop.is_set() else entrances(address)
        if password:
            shown = {"name": ADMINISTRATOR, "password": password}
            told = _("%(name)s, password %(password)s (shown once, change it)")
            lines[str(_("Administrator"))] = told % shown
        wide = max(map(columns, lines), default=0)
        rows = [f"  {name}{' ' * (wide - columns(name))}  {said}" for name, said in lines.items()]
        if not stop.is_set():
            rows = ["", _("OpsDesk is ready. Ctrl-C stops everything."), *rows, ""]
        if rows:
            self.stdout.write("\n".join(rows))
            self.stdout.flush()


def entrances(address: str) -> dict[str, str]:
    return {str(label): f"{address}{reverse(name)}" for label, name in settings.ENTRANCES}


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def ready(first: bool) -> bool:
    """Whether all processes are there, after a `first` start with what it brings."""
    try:
        there = all(said == "ok" for said in health.readiness().values())
        return there and all(import_string(name)() for name in settings.FIRST_READY * first)
    except (DatabaseError, postgres.PostgresError):  # between the two
        return False
    finally:
        connection.close()


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((reachable(host), port), timeout=1).close()
    except OSError:
        return False
    return True


def reachable(host: str) -> str:
    """An address to ask when we listen on all of them."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def check_port(host: str, port: int) -> None:
    """Raise CommandError when somebody else listens there."""
    deadline = time.monotonic() + PORT_SECONDS
    while True:
        try:
            family, kind, _proto, _name, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise CommandError(
                    _(
                        "Cannot listen on %(host)s port %(port)s: %(reason)s. Choose another: "
                        "manage.py serve --port 8001, or OPSDESK_PORT."
                    )
                    % {"host": host, "port": port, "reason": error.strerror or error}
                ) from error
        time.sleep(0.2)

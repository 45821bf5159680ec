"""`manage.py bench_console`: how long a message takes to the other side, beside a bare echo."""

import os
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from evaluation import console_benchmark
from evaluation.metrics import percentile


class Command(BaseCommand):
    help = (
        "Measure customer to agent and back over real sockets, beside a bare Channels echo on the"
        " same layer in the same run. Wants a database with nothing else in it (OPSDESK_HOME)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--customers", type=int, default=1000)
        parser.add_argument("--agents", type=int, default=20)
        parser.add_argument("--processes", type=int, default=1, help="that serve the web")
        parser.add_argument("--every", type=float, default=30.0, help="s between two of a customer")
        parser.add_argument("--warm-up", type=float, default=30.0, help="s")
        parser.add_argument("--seconds", type=float, default=120.0, help="s that are measured")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        call_command("createcachetable", verbosity=0)
        guests, staff = console_benchmark.people(options["customers"], options["agents"])
        connections.close_all()
        with _server(options["processes"]) as (url, process):
            load = console_benchmark.Load(url, options["every"])
            used = partial(_cpu, process.pid)
            try:
                uvloop.run(load.run(guests, staff, options["warm_up"], options["seconds"], used))
            except TimeoutError as error:
                raise CommandError(f"only {load.measured.greeted} were greeted") from error
        self.show(load.measured, options)

    def show(self, measured: console_benchmark.Measured, options: Any) -> None:
        say = self.stdout.write
        say(
            f"{options['customers']:,} customers, {options['agents']} agents, a message every"
            f" {options['every']:g} s each, {options['seconds']:g} s;"
            f" {options['processes']} web processes used"
            f" {measured.shares[0]:.0%} of a core, the browsers {measured.shares[1]:.0%};"
            f" load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores;"
            f" refused {measured.refused}, not arrived {len(measured.sent)}\n"
        )
        say("| direction | way | messages | p50 ms | p95 | p99 | largest |")
        say("|---|---|--:|--:|--:|--:|--:|")
        for direction in ("to agent", "to customer"):
            p99 = {}
            for way in ("chat", "echo"):
                times = sorted(measured.times[way, direction])
                if not times:
                    raise CommandError("nothing arrived")
                at = [percentile(times, part) or 0.0 for part in (0.5, 0.95, 0.99)]
                p99[way] = at[-1]
                figures = " | ".join(f"{ms:.1f}" for ms in (*at, times[-1]))
                say(f"| {direction} | {way} | {len(times):,} | {figures} |")
            say(f"| {direction} | p99, chat ÷ echo | | | | {p99['chat'] / p99['echo']:.2f} | |")


@contextmanager
def _server(processes: int) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The product's web processes with the echo in them, as `manage.py web` runs them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "uvicorn", "evaluation.echo:application", "--port", str(port),
        "--loop", "uvloop", "--lifespan", "off", "--no-access-log", "--ws-max-size", str(1 << 20),
        "--log-level", "warning", "--workers", str(processes),
    ]  # fmt: skip
    environment = os.environ | {
        "OPSDESK_ROLE": "web", "OPSDESK_HOME": str(settings.HOME), "OPSDESK_LOG_LEVEL": "WARNING",
    }  # fmt: skip
    process = subprocess.Popen(  # noqa: S603
        command, env=environment, cwd=settings.BASE_DIR
    )
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            raise CommandError("the web process did not start")
        yield f"ws://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(30)


def _cpu(pid: int) -> float:
    """Seconds of processor time that a process and those it started have used."""
    stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_cpu(int(child)) for child in children)

import os
import signal
from typing import Any

from django.core.management.base import BaseCommand

from chat.runner import Runner, warm


class Command(BaseCommand):
    help = "Answers questions until it is stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        runner = Runner()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, runner.stop)
        warm()
        if not runner.run():
            # A thread still waits for a model. Its turn is given back; do not wait with it.
            os._exit(0)

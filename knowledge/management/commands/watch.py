import signal
from typing import Any

from django.core.management.base import BaseCommand

from knowledge.sources.watching import Watcher


class Command(BaseCommand):
    help = "Looks at watched folders as soon as something happens in them, until it is stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        watcher = Watcher()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, watcher.stop)
        watcher.run()

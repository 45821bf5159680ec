"""The web processes of `manage.py serve`."""

from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Serve HTTP and WebSockets. `serve` runs it, with all that belongs to it."

    def handle(self, *args: Any, **options: Any) -> None:
        uvicorn.run(
            "opsdesk.asgi:application",
            host=settings.HOST,
            port=settings.PORT,
            workers=settings.WEB_PROCESSES,
            loop="uvloop",
            log_config=None,  # ours is configured: JSON lines
            access_log=False,
            lifespan="off",
            ws_max_size=1 << 20,
            timeout_graceful_shutdown=5,
            timeout_worker_healthcheck=60,  # what starts on a busy machine is not hung
            server_header=False,
        )

"""What a message costs that is only handed on: Channels, our layer, and nothing else.

`application` is OpsDesk with this beside it, so that both are served by the same process.
"""

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

from opsdesk import asgi


class Echo(AsyncJsonWebsocketConsumer):
    """Who connects as `name` gets whatever others send to it: {"to": name, …}."""

    async def connect(self) -> None:
        self.group = f"echo.{self.scope['url_route']['kwargs']['name']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        group = f"echo.{content['to']}"
        await self.channel_layer.group_send(group, {"type": "echo.message", "content": content})

    async def echo_message(self, event: dict[str, Any]) -> None:
        await self.send_json(event["content"])


_sockets = asgi.application.application_mapping["websocket"]
_echo = URLRouter([path("ws/echo/<name>/", Echo.as_asgi())])


async def _either(scope: Any, receive: Any, send: Any) -> None:
    chosen = _echo if scope["path"].startswith("/ws/echo/") else _sockets
    await chosen(scope, receive, send)


application = ProtocolTypeRouter({"http": asgi.http, "websocket": _either})

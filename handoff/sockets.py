"""WebSocket routes of the console and of those who supervise it."""

from django.urls import path

from handoff.consumers import ConsoleConsumer
from handoff.overseeing import OverviewConsumer

websocket_urlpatterns = [
    path("ws/console/", ConsoleConsumer.as_asgi()),
    path("ws/overview/", OverviewConsumer.as_asgi()),
]

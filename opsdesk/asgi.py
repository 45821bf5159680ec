"""HTTP and WebSocket entry point. The one module of `opsdesk` that may import apps."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsdesk.settings")
http = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from chat.routing import websocket_urlpatterns as chat  # noqa: E402
from handoff.sockets import websocket_urlpatterns as console  # noqa: E402
from opsdesk.security import BodyLimit  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": BodyLimit(http),
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter([*chat, *console]))),
    }
)

"""System checks of the settings."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def environment(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    return [
        Error(problem.message, hint=problem.hint, id="opsdesk.E001")
        for problem in settings.ENVIRONMENT_PROBLEMS
    ]

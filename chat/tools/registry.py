"""Which tools there are, and for whom."""

from collections.abc import Iterable, Iterator

from django.conf import settings
from django.utils.module_loading import import_string

from chat.models import HttpTool
from chat.tools.base import Context, Tool
from chat.tools.http import HttpBackend


def offered(asker: Context, rows: Iterable[HttpTool] | None = None) -> list[Tool]:
    """The tools that the one who asks may use, those that every installation has first.

    `rows`: the enabled ones that staff set up, where they are known.
    """
    return [tool for tool in _all(rows) if tool.allows(asker)]


def tool(name: str, asker: Context) -> Tool | None:
    """The one called `name`, while it is there for the one who asks."""
    return next((one for one in offered(asker) if one.name == name), None)


def names() -> set[str]:
    """Of those that `settings.TOOLS` names."""
    return {import_string(dotted).name for dotted in settings.TOOLS}


def _all(rows: Iterable[HttpTool] | None) -> Iterator[Tool]:
    for dotted in settings.TOOLS:
        yield import_string(dotted)()
    if rows is None:
        rows = HttpTool.objects.filter(enabled=True).prefetch_related("groups", "bases", "sites")
    yield from map(HttpBackend, rows)

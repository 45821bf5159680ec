"""Where knowledge comes from by itself: places that are looked at again and again.

A kind of source is a class named in `settings.SOURCES`; `running` owns what happens with
what it finds.
"""

from django.conf import settings
from django.utils.module_loading import import_string

from knowledge.models import Source
from knowledge.sources.base import Backend

__all__ = ["backend", "kind", "kinds"]


def kinds() -> dict[str, type[Backend]]:
    """All kinds by their names, in the order of the settings."""
    return {name: kind(name) for name in settings.SOURCES}


def kind(name: str) -> type[Backend]:
    found: type[Backend] = import_string(settings.SOURCES[name]["BACKEND"])
    return found


def backend(source: Source) -> Backend:
    return kind(source.kind)(source)

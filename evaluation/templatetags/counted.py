"""What pages of runs say of the values that rows hold."""

from collections.abc import Mapping
from typing import Any

from django import template

register = template.Library()


@register.filter
def of(labels: Mapping[str, Any], name: str) -> Any:
    """What `name` is called; itself where it has no label."""
    return labels.get(name, name)

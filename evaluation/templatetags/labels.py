"""What the labelling page hands to its script."""

import json
from typing import Any

from django import template

register = template.Library()


@register.filter
def place_json(place: dict[str, Any]) -> str:
    """A passage's place for an attribute; the template escapes it."""
    return json.dumps(place, ensure_ascii=False)

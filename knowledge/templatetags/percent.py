"""Shares in templates."""

from django import template

register = template.Library()


@register.filter
def percent(share: float) -> str:
    """A share 0–1 as a whole percentage."""
    return f"{share:.0%}"

"""The names of what checks of an answer found, in the language of who reads them."""

from django import template
from django.utils.translation import gettext_lazy as _

register = template.Library()

LABELS = {
    "code": _("a code"),
    "port": _("a port"),
    "version": _("a version"),
    "email": _("a mail address"),
    "phone": _("a phone number"),
    "url": _("a web address"),
    "command": _("a command"),
    "parameter": _("a parameter"),
    "path": _("a file or folder"),
    "percent": _("a percentage"),
    "money": _("an amount of money"),
    "people": _("a number of people"),
    "bytes": _("an amount of data"),
    "times": _("how many times"),
    "length": _("a length or area"),
    "duration": _("a length of time"),
    "day": _("a date"),
    "date": _("a point in time"),
    "person": _("a person"),
    "count": _("a count"),
    "number": _("a number"),
    "product": _("product"),
    "environment": _("environment"),
    "topic": _("topic"),
    "passage": _("passage"),
}


@register.filter
def label(name: str) -> str:
    return str(LABELS.get(name, name))

"""Commands that destroy: an answer that shows one says so first.

A passage answers only when its document is approved (`knowledge.scope`), so a command that is
shown was approved by staff; this is for the reader at three in the morning. A model's sentence
with such a command that stands in no passage calls a person, and so does a question about one
that no passage knows.
"""

import re
from collections.abc import Iterable
from functools import cache

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

from chat.content import words

DOES = {
    "files": gettext_lazy("deletes files"),
    "emptying": gettext_lazy("empties files"),
    "disk": gettext_lazy("overwrites a disk"),
    "storage": gettext_lazy("removes storage"),
    "database": gettext_lazy("deletes data of a database"),
    "data": gettext_lazy("deletes data"),
    "processes": gettext_lazy("ends processes at once"),
    "protection": gettext_lazy("takes the firewall or another protection away"),
    "network": gettext_lazy("cuts off from the network"),
    "machine": gettext_lazy("stops or restarts the machine"),
    "cluster": gettext_lazy("removes what runs in a cluster"),
    "containers": gettext_lazy("removes containers, images or volumes"),
    "changes": gettext_lazy("throws changes away"),
    "rights": gettext_lazy("gives rights to everybody"),
    "downloads": gettext_lazy("runs what it downloads"),
    "users": gettext_lazy("removes jobs or users"),
    "software": gettext_lazy("removes software"),
}


def found(text: str) -> dict[str, str]:
    """Each destroying command of `text` as it stands there, and what it does."""
    return {match[0].strip(): str(DOES[does]) for does, match in _matches(text)}


def warning(text: str, after: str = "") -> str:
    """A quotation of Markdown that warns of what `text` shows, "" when `after` showed it before."""
    shown = found(after)
    commands = {command: does for command, does in found(text).items() if command not in shown}
    if not commands:
        return ""
    named = [_("`%(command)s` %(does)s") % {"command": c, "does": d} for c, d in commands.items()]
    sentence = _(
        "**Careful:** %(commands)s. Check what it will hit, and have a backup, before you run it."
    ) % {"commands": pgettext("between items of a list", "; ").join(named)}
    return f"> {sentence}"


def warned(text: str) -> str:
    """Markdown of an answer, with a warning in front when it shows such commands."""
    said = warning(text)
    return f"{said}\n\n{text}" if said else text


def only_asked(question: str, passages: Iterable[str]) -> list[str]:
    """The commands that `question` wants to run and none of `passages` has the like of; a question
    about undoing one wants none."""
    asked = list(_matches(question))
    if not asked or re.search(words("dangers")["after"]["words"], question, re.IGNORECASE):
        return []
    known = {does for passage in passages for does, _match in _matches(passage)}
    return [match[0].strip() for does, match in asked if does not in known]


def _matches(text: str) -> Iterable[tuple[str, re.Match[str]]]:
    for does, look in _looks():
        for match in look.finditer(text):
            yield does, match


@cache
def _looks() -> list[tuple[str, re.Pattern[str]]]:
    content = words("dangers")
    return [
        (does, re.compile(look.replace("START", content["start"]), re.IGNORECASE | re.MULTILINE))
        for does in DOES
        for look in content[does]
    ]

"""Commands that destroy: an answer that shows one says so first.

A passage answers only when its document is approved (`knowledge.scope`), so a command that is
shown was approved by staff; this is for the reader at three in the morning.
"""

import re

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.utils.translation import pgettext

# Where a command may begin, of words that prose has as well.
START = r"(?:(?<=^)|(?<=[`$#;&|(])\s*|\bsudo\s+)"
# What it looks like, case ignored, and what it does.
DANGERS = (
    (r"\brm\s+(?:-\S+\s+)*(?:-[a-z]*[rf][a-z]*|--recursive|--force)\b", lazy("deletes files")),
    (r"\bfind\b[^\n`]*\s-delete\b|\bhdfs\s+dfs\s+-rmr?\b|\bshred\s", lazy("deletes files")),
    (r"\bmkfs(?:\.\w+)?\b|\bwipefs\b|\bdd\s[^\n`]*\bof=/dev/", lazy("overwrites a disk")),
    (r"\b(?:lv|vg|pv)remove\b|\bzpool\s+destroy\b", lazy("removes storage")),
    (r"\bdrop\s+(?:table|database|schema|index|user|tablespace|view|column)\b",
     lazy("deletes data of a database")),
    (r"\btruncate\s+table\b|\bdelete\s+from\s+[\w.`\"]+\s*;|\bflush(?:all|db)\b|\bdropDatabase\(",
     lazy("deletes data of a database")),
    (r"\bcurl\b[^\n`]*-X\s*DELETE\b", lazy("deletes data")),
    (r"\bp?kill(?:all)?\s+(?:-9|-kill|-s\s*(?:9|kill|sigkill)|-sigkill)\b",
     lazy("ends processes at once")),
    (r"\biptables\s+(?:-t\s+\w+\s+)?(?:-F|-X|--flush)\b|\bnft\s+flush\b|\bufw\s+(?:disable|reset)\b"
     r"|\bsystemctl\s+(?:stop|disable)\s+firewalld\b|\bsetenforce\s+0\b",
     lazy("takes the firewall or another protection away")),
    (rf"{START}(?:shutdown|reboot|halt|poweroff)\b|\binit\s+[06]\b",
     lazy("stops or restarts the machine")),
    (r"\bkubectl\s+(?:delete|drain)\b|\bhelm\s+(?:uninstall|delete)\b|\bterraform\s+destroy\b",
     lazy("removes what runs in a cluster")),
    (r"\bdocker\s+(?:system\s+prune|volume\s+(?:rm|prune)|rm\s+-\w*f|rmi\s+-\w*f)\b",
     lazy("removes containers, images or volumes")),
    (r"\bgit\s+(?:push\b[^\n`]*\s(?:--force|-f)\b|reset\s+--hard|clean\s+-\w*f)",
     lazy("throws changes away")),
    (r"\bchmod\s+(?:-R\s+)?0?777\b", lazy("gives rights to everybody")),
    (r"\b(?:curl|wget)\b[^\n|`]*\|\s*(?:sudo\s+)?(?:ba|z)?sh\b", lazy("runs what it downloads")),
    (r"\bcrontab\s+-r\b|\buserdel\b", lazy("removes jobs or users")),
)  # fmt: skip
_COMPILED = [(re.compile(look, re.IGNORECASE | re.MULTILINE), does) for look, does in DANGERS]


def found(text: str) -> dict[str, str]:
    """Each destroying command of `text` as it stands there, and what it does."""
    return {
        match[0].strip(): str(does) for look, does in _COMPILED for match in look.finditer(text)
    }


def warned(text: str) -> str:
    """Markdown of an answer, with a warning in front when it shows such commands."""
    commands = found(text)
    if not commands:
        return text
    named = [_("`%(command)s` %(does)s") % {"command": c, "does": d} for c, d in commands.items()]
    warning = _(
        "**Careful:** %(commands)s. Check what it will hit, and have a backup, before you run it."
    ) % {"commands": pgettext("between items of a list", "; ").join(named)}
    return f"> {warning}\n\n{text}"

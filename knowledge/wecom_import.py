"""WeCom conversations → drafts of FAQ entries.

What comes in is masked, and names become roles, before anything of it is stored; the task
that finds the pairs sees nothing else.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePath
from tempfile import NamedTemporaryFile
from typing import Any

from django.contrib.auth.models import User
from django.core.files.base import ContentFile, File
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from knowledge import entries, masking, sheet_import, sheets, wecom, wecom_pairs
from knowledge.chunking import letters
from knowledge.models import Entry, Import, KnowledgeBase
from knowledge.parsing import detection
from knowledge.parsing.unreadable import Unreadable
from knowledge.wecom import Conversations, Message
from opsdesk.errors import ParseError

MAX_BYTES = 50 * 1024**2


def receive(
    base: KnowledgeBase, file: File, name: str, user: User | None, *, email: bool = True
) -> Import:
    """Keep the conversations of a file, masked, and queue the search for pairs.

    Raises ParseError when there is no conversation in it.
    """
    if file.size > MAX_BYTES:
        message = _("This file is larger than %(megabytes)d MB. Split it.")
        raise ParseError(message % {"megabytes": MAX_BYTES // 1024**2}, permanent=True)
    found = _read(file, name)
    if not found.messages and not found.counts["messages"]:
        raise ParseError(_("There is no conversation in this file."), permanent=True)
    people = _roles(found.messages)
    masked: Counter[str] = Counter()
    nameless = _namer(people)
    messages = [_masked(one, people, nameless, email, masked) for one in found.messages]
    row = Import(
        knowledge_base=base,
        kind=Import.Kind.WECOM,
        name=masking.mask(name).text[:300],
        user=user,
        state=Import.State.QUEUED,
        total=len(messages),
        failed=len(found.errors),
        errors=[
            {"row": number, "message": str(_sentence(reason))}
            for number, reason in found.errors[: sheet_import.ERRORS]
        ],
        counts={**found.counts, "rooms": len({one.room for one in messages}), "masked": masked},
    )
    lines = "\n".join(message.to_json() for message in messages)
    with transaction.atomic():
        row.file.save("messages.jsonl", ContentFile(lines.encode()), save=False)
        row.save()
        sheet_import.enqueue(row)
    return row


def run(import_id: int) -> None:
    """Task: put the pairs of an import as drafts before a curator; twice is as once."""
    with sheet_import.told(import_id), transaction.atomic():
        row = (
            Import.objects.select_for_update(of=("self",))
            .select_related("knowledge_base")
            .filter(pk=import_id, state__in=[Import.State.QUEUED, Import.State.RUNNING])
            .first()
        )
        if row is None:
            return
        lines = Path(row.file.path).read_text("utf-8").splitlines()
        found, counts = wecom_pairs.pairs(map(Message.from_json, lines))
        entries.lock(row.knowledge_base)
        drafts = list(_drafts(row, found))
        Entry.objects.bulk_create(drafts, batch_size=entries.BATCH)
        row.counts |= {**counts, "pairs": len(found)}
        row.created, row.unchanged = len(drafts), len(found) - len(drafts)
        row.done, row.state, row.finished_at = row.total, Import.State.DONE, timezone.now()
        row.save()


def shown(counts: dict[str, Any]) -> list[tuple[str, int]]:
    """The counts of an import with what they are called, those that are not zero."""
    labels = {
        "messages": _("messages"),
        "rooms": _("rooms"),
        "threads": _("threads"),
        "duplicates": _("messages that came twice"),
        "revoked": _("revoked, left out"),
        "without_consent": _("without consent, left out"),
        "without_text": _("without text"),
        "unanswered": _("questions without an answer"),
        "unconfirmed": _("answers that nobody confirmed"),
        "pairs": _("questions with a confirmed answer"),
    }
    kinds = {
        "mobile": _("mobile numbers masked"),
        "phone": _("telephone numbers masked"),
        "id_card": _("ID numbers masked"),
        "bank_card": _("card numbers masked"),
        "email": _("e-mail addresses masked"),
        "secret": _("passwords masked"),
        "token": _("tokens masked"),
        "private_key": _("private keys masked"),
    }
    masked = counts.get("masked", {})
    rows = [(label, counts.get(name, 0)) for name, label in labels.items()]
    rows += [(label, masked.get(kind, 0)) for kind, label in kinds.items()]
    return [(label, number) for label, number in rows if number]


# --- reading ------------------------------------------------------------------------


def _read(file: File, name: str) -> Conversations:
    zone = timezone.get_current_timezone()
    with NamedTemporaryFile(prefix="opsdesk-") as copy:
        for piece in file.chunks():
            copy.write(piece)
        copy.flush()
        path = Path(copy.name)
        if PurePath(name).suffix.lower() in {".xlsx", ".csv"}:
            for sheet in sheets.read(path, name):
                rows = ((row.number, row.cells) for row in sheet.rows)
                if found := wecom.table(rows, zone):
                    return found
            message = _("No sheet has the columns time, sender and content.")
            raise ParseError(message, permanent=True)
        try:
            text = detection.decode(path.read_bytes())
        except Unreadable as error:
            message = _("This is no text. Export the conversation as JSON Lines, TXT or XLSX.")
            raise ParseError(message, permanent=True) from error
    if text.lstrip().startswith("{"):
        return wecom.archive(text.split("\n"))
    return wecom.transcript(text, zone, PurePath(name).stem)


def _sentence(reason: str) -> str:
    return {
        "broken": _("This line is not valid JSON."),
        "fields": _("The number, the sender or the time is missing."),
        "no_sender": _("No line with a name and a time stands before this."),
        "too_many": _("Only the first %(n)d messages are read.") % {"n": wecom.MOST},
    }[reason]


# --- masking ------------------------------------------------------------------------


def _roles(messages: list[Message]) -> dict[str, str]:
    """What each person is called instead, by role and in the order of their first words."""
    people: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for message in messages:
        if message.sender not in people:
            role = _("Customer") if message.external else _("Colleague")
            counts[role] += 1
            # One word, as a name that is called.
            people[message.sender] = f"{role}{letters(counts[role])}"
    return people


def _namer(people: dict[str, str]) -> Callable[[str], str]:
    """Replaces names: of those who speak by their roles, others who are called by "someone"."""
    names = sorted((name for name in people if len(name) > 1), key=len, reverse=True)
    known = re.compile("|".join(f"{_edge(name)}{re.escape(name)}{_edge(name)}" for name in names))
    calls = re.compile(r"@(?!\x00)[^\s@,，:：。\u2005]{1,30}")

    def nameless(text: str) -> str:
        if names:
            text = known.sub(lambda match: f"\x00{people[match[0]]}", text)
        return calls.sub("@" + _("someone"), text).replace("\x00", "")

    return nameless


def _edge(name: str) -> str:
    """An account's name is a word of its own; a Chinese name may stand anywhere."""
    return r"\b" if name.isascii() else ""


def _masked(
    message: Message,
    people: dict[str, str],
    nameless: Callable[[str], str],
    email: bool,
    masked: Counter[str],
) -> Message:
    hidden = masking.mask(message.text.replace("\x00", ""), email=email)
    masked.update(hidden.counts)
    among = [people[name] for name in message.room.split(" ") if name in people]
    room = "、".join(among) or nameless(masking.mask(message.room, email=email).text)
    return replace(
        message,
        sender=people[message.sender],
        text=nameless(hidden.text),
        room=room[:100],
        quoted=people.get(message.quoted, ""),
        mentions=tuple(people[name] for name in message.mentions if name in people),
    )


# --- drafts -------------------------------------------------------------------------


def _drafts(row: Import, found: list[wecom_pairs.Pair]) -> Iterator[Entry]:
    """A draft for each pair whose question no entry asks yet."""
    known = set(entries.known(row.knowledge_base))
    for pair in found:
        asked = entries.normal(pair.question)
        if asked in known:
            continue
        known.add(asked)
        yield Entry(
            knowledge_base=row.knowledge_base,
            question=entries.line(pair.question)[: entries.QUESTION],
            answer=entries.prose(pair.answer)[: entries.ANSWER],
            origin=Entry.Origin.WECOM,
            reference=f"{pair.room} · {_time(pair.at)}"[:500],
            context=[
                {"who": one.sender, "at": _time(one.at), "text": one.text, "part": part}
                for one, part in pair.context
            ],
            imported=row,
            created_by=row.user,
        )


def _time(at: int) -> str:
    local = datetime.fromtimestamp(at / 1000, timezone.get_current_timezone())
    return f"{local:%Y-%m-%d %H:%M}"

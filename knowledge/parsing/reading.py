"""Behind the doors, in the process that has Django: detect, run the right parser, explain."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from knowledge import addressed
from knowledge.parsing import (
    detection,
    longtable,
    markdown,
    mineru,
    pictures,
    plaintext,
    sandbox,
    tables,
    worker,
)
from knowledge.parsing.document import Block, ParsedDocument
from knowledge.parsing.job import Job
from knowledge.parsing.parts import PLAN, Part
from knowledge.parsing.unreadable import Reason, Unreadable
from opsdesk.errors import Locked, ParseError

NATIVE = "native"  # the tier that needs no other program and no model of ours
SENTENCES: dict[Reason, object] = {
    "empty": _("The file is empty."),
    "password": _("The file is password-protected. Give its password and it will be read."),
    "wrong_password": _("The password does not open the file."),
    "locked": _("The file is password-protected. Remove the password and upload it again."),
    "wrong_extension": _(
        "The file is not what its name says: it holds plain text. "
        "Save it again in the right format, or rename it."
    ),
    "archive": _("This is an archive. Unpack it, or upload it as a whole knowledge base."),
    "executable": _("This is a program, not a document."),
    "media": _("Audio and video cannot be read. Upload a transcript."),
    "mailbox": _("A whole mailbox cannot be read. Save the messages one by one, as EML or MSG."),
    "picture_format": _("This picture format cannot be read. Save it as PNG or JPEG."),
    "office_format": _("This Office format cannot be read. Save it as DOCX, XLSX, PPTX or PDF."),
    "unknown": _("The file type is not recognised. PDF, Office, text and picture files are."),
    "bomb": _("The file would unpack to far more than a document holds, so it was not opened."),
    "entities": _(
        "The file carries XML declarations that no Office program writes. "
        "Save it again from Office and retry."
    ),
    "broken": _("The file is damaged. Open it in its own program, save it again and retry."),
    "nothing": _("Nothing readable was found in the file: no text, table or picture."),
    "huge_picture": _("The picture is too large to read. Make it smaller and retry."),
    "limits": _("The file is too complex to read. Split it and retry."),
    "memory": _("Reading the file took more memory than allowed. Split it and retry."),
    "timeout": _("Reading the file took too long. Split it and retry."),
    "too_much": _("The file holds more text and pictures than one document may. Split it."),
    "crashed": _("The file makes its reader fail; it may be damaged. Save it again and retry."),
    "stopped": _("Reading the file was interrupted. Try again."),
}
# What a parser left out; after the colon a detail.
WARNINGS = {
    "pictures_skipped": _("%(detail)s pictures could not be converted."),
    "pictures_unread": _("The words in %(detail)s of the smaller pictures were not read."),
    "pictures_elsewhere": _("%(detail)s pictures lie on other machines and were not fetched."),
    "formulas_without_value": _(
        "%(detail)s formula cells have no saved result and show their formula. "
        "Open the file in Excel and save it."
    ),
    "ocr_stopped": _("Text recognition ran out of time after %(detail)s pages."),
    "tier_missed": _("Read without MinerU: %(detail)s."),
    "attachments_unread": _("Attachments that were not read: %(detail)s."),
    "broken_pages": _("Pages that could not be read: %(detail)s."),
    "addressed": _(
        "%(detail)s sentences speak to an assistant instead of a reader. They are left out of "
        "answers; take them out of the document if nobody wanted them."
    ),
    "hidden_text": _("Text that no reader sees was left out: %(detail)s."),
}
# Another try may succeed only where the cause lies outside the file.
_PASSING: set[Reason] = {"stopped"}


def media_type(path: Path, name: str) -> str:
    try:
        return detection.detect(path, name)
    except Unreadable as refusal:
        raise _explained(refusal) from refusal


def parse(
    path: Path,
    name: str,
    password: str | None,
    *,
    tier: str = NATIVE,
    insist: bool = True,
    job: Job | None = None,
) -> ParsedDocument:
    read = partial(_by_tier, tier=tier, insist=insist)
    try:
        parsed = _parse(path, name, password, job or Job(), read)
    except Unreadable as refusal:
        raise _explained(refusal) from refusal
    if spoken := sum(len(addressed.found(block.text)) for block in parsed.blocks):
        parsed.warnings.append(f"addressed:{spoken}")
    parsed.warnings = [_warning(warning) for warning in parsed.warnings]
    return parsed


def parts(path: Path) -> Iterator[ParsedDocument]:
    try:
        yield from longtable.parts(path)
    except Unreadable as refusal:
        raise _explained(refusal) from refusal


def rows(path: Path) -> ParsedDocument:
    try:
        return Job().read(path, worker.ROWS, None)
    except Unreadable as refusal:
        raise _explained(refusal) from refusal


def recognise(picture: bytes, seconds: float) -> list[Block]:
    orders: dict[str, object] = {
        "media_type": worker.PICTURES,
        "steps": ["screenshot:0"],
        "sizes": [len(picture)],
    }
    with tempfile.TemporaryFile(buffering=0) as source:
        source.write(picture)
        try:
            return [
                block
                for part in sandbox.run(source, orders, None, seconds)
                for block in part.parsed.blocks
            ]
        except Unreadable as refusal:
            raise _explained(refusal) from refusal


def _parse(
    path: Path, name: str, password: str | None, job: Job, read: Callable[..., ParsedDocument]
) -> ParsedDocument:
    kind = detection.detect(path, name)
    if kind in detection.TEXTS:
        text = detection.decode(path.read_bytes())
        parsed = markdown.parse(text) if kind == "text/markdown" else plaintext.parse(text, name)
    else:
        parsed = read(path, kind, password, job)
        _read_pictures(parsed, kind, job)
    if not parsed.blocks:
        raise Unreadable("nothing")
    return parsed


def _by_tier(
    path: Path, kind: str, password: str | None, job: Job, *, tier: str, insist: bool
) -> ParsedDocument:
    """Where the tier cannot be had, natively, with a warning; unless it may be had later.

    A long file that was begun natively is finished so, whatever its tier has become.
    """
    if tier != NATIVE and mineru.reads(kind) and not {mineru.MISSED, PLAN} & job.done.keys():
        try:
            if password:
                raise mineru.Refused(gettext("the file has a password"), passing=False)
            return mineru.parse(path, kind, tier, job)
        except mineru.Refused as refusal:
            if refusal.passing and insist:
                message = gettext("MinerU: %(reason)s. It will be tried again.") % {
                    "reason": refusal
                }
                raise ParseError(message, permanent=False) from refusal
            missed = ParsedDocument(warnings=[f"tier_missed:{tier}: {refusal}"])
            job.keep(Part(mineru.MISSED, missed))
    parsed = job.read(path, kind, password)
    if mineru.MISSED in job.done:
        parsed.warnings[:0] = job.done[mineru.MISSED].parsed.warnings
    return parsed


def _read_pictures(parsed: ParsedDocument, kind: str, job: Job) -> None:
    described = kind in detection.OFFICE and kind != "application/pdf"
    chosen = pictures.worth_reading(parsed, described)
    job.read_pictures(parsed, chosen[: pictures.MOST])
    # Not before: what is kept while pictures are read would bring it again.
    if len(chosen) > pictures.MOST:
        parsed.warnings.append(f"pictures_unread:{len(chosen) - pictures.MOST}")
    tables.show(parsed)


def _explained(refusal: Unreadable) -> ParseError:
    sentence = str(SENTENCES[refusal.reason])
    if refusal.reason in {"password", "wrong_password"}:
        return Locked(sentence)
    return ParseError(sentence, permanent=refusal.reason not in _PASSING)


def _warning(warning: str) -> str:
    code, _colon, detail = warning.partition(":")
    return str(WARNINGS[code]) % {"detail": detail}

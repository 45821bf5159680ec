"""Term lists as sheets: a row a term, read from CSV and Excel files and written to them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from knowledge import sheets, synonyms
from knowledge.models import KnowledgeBase, Term

COLUMNS: dict[str, Promise] = {
    "canonical": gettext_lazy("term"),
    "variants": gettext_lazy("also called"),
    "note": gettext_lazy("note"),
    "enabled": gettext_lazy("enabled"),
}
NAMES = {
    "canonical": "term canonical word 术语 标准词 标准术语 主词 规范词 词条",
    "variants": "alsocalled variants synonyms aliases 又称 也叫 同义词 别名 变体 近义词",
    "note": "note notes remark 备注 说明",
    "enabled": "enabled active 启用 已启用 状态",
}
NO = {"no", "false", "0", "否", "停用", "禁用", "off", "n"}
LONGEST = 100  # characters of a word


@dataclass
class Taken:
    """What became of a sheet's rows."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    errors: list[tuple[int, str]] = field(default_factory=list)  # number of the row, why
    seen: set[str] = field(default_factory=set)  # terms of the sheet, folded


def words(text: str) -> list[str]:
    """The words of a cell or a field: one a line, or with marks between them."""
    return [word for part in re.split(r"[\n;；、|｜]", text) if (word := " ".join(part.split()))]


def take(base: KnowledgeBase, path: Path, name: str) -> Taken:
    """Take in the rows that are good, and say of the others what is wrong with them.

    A term that is there already becomes what its row says. Raises ParseError for what is no sheet.
    """
    rows, columns = _rows(sheets.read(path, name))
    taken = Taken()
    with transaction.atomic():
        owned = synonyms.owners(base.pk)
        for row in rows:
            try:
                _take(base, row, columns, owned, taken)
            except ValidationError as error:
                taken.errors.append((row.number, " ".join(error.messages)))
        if taken.new or taken.changed:
            synonyms.changed([base.pk])
    return taken


def _rows(found: list[sheets.Sheet]) -> tuple[list[sheets.Row], dict[str, int]]:
    """The rows of the first sheet that has any, and its columns; without a header in our order."""
    rows = next((sheet.rows for sheet in found if sheet.rows), [])
    header = rows[0].cells if rows else []
    titles = {"".join(cell.split()).lower(): at for at, cell in enumerate(header)}
    columns = {
        name: titles[title]
        for name, known in NAMES.items()
        for title in reversed(known.split())
        if title in titles
    }
    if "canonical" in columns:
        return rows[1:], columns
    return rows, dict(zip(COLUMNS, range(len(COLUMNS)), strict=True))


def _take(
    base: KnowledgeBase,
    row: sheets.Row,
    columns: dict[str, int],
    owned: synonyms.Owners,
    taken: Taken,
) -> None:
    cells = {name: row.cell(at).strip() for name, at in columns.items()}
    canonical = " ".join(cells["canonical"].split())
    if not canonical:
        raise ValidationError(_("The term is missing."))
    if synonyms.fold(canonical) in taken.seen:
        raise ValidationError(_("“%(word)s” stands here twice.") % {"word": canonical})
    taken.seen.add(synonyms.fold(canonical))
    owner = owned.get(synonyms.fold(canonical))
    known = owner and synonyms.fold(owner.canonical) == synonyms.fold(canonical)
    term = owner if owner and known else Term(knowledge_base=base, canonical=canonical)
    before = {name: getattr(term, name) for name in COLUMNS}
    values = {"canonical": canonical, **_values(cells)}
    if known and values.items() <= before.items():
        taken.unchanged += 1
        return
    wanted = Term(pk=term.pk, knowledge_base=base, **{**before, **values})
    wanted.full_clean(exclude=["knowledge_base"], validate_unique=False, validate_constraints=False)
    synonyms.check(wanted, owned)
    wanted.save()
    for word in [w for w, one in owned.items() if one.pk == wanted.pk]:
        del owned[word]
    owned |= {synonyms.fold(word): wanted for word in (wanted.canonical, *wanted.variants)}
    taken.changed += bool(known)
    taken.new += not known


def _values(cells: dict[str, str]) -> dict[str, object]:
    """What the cells say; of columns that are not there nothing."""
    values: dict[str, object] = {}
    if "variants" in cells:
        values["variants"] = words(cells["variants"])
    if "note" in cells:
        values["note"] = cells["note"]
    if cells.get("enabled"):
        values["enabled"] = cells["enabled"].lower() not in NO
    return values


def exported(terms: Iterable[Term]) -> Iterator[list[str]]:
    """A header and a row for each term, as `take` reads them."""
    yield [str(title) for title in COLUMNS.values()]
    for term in terms:
        enabled = _("yes") if term.enabled else _("no")
        yield [term.canonical, "\n".join(term.variants), term.note, enabled]

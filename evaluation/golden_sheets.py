"""Golden questions as a sheet, XLSX or CSV: a header that names the columns, a row a question."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from evaluation import golden
from evaluation.models import GoldenQuestion
from knowledge import sheets
from knowledge.models import Document, KnowledgeBase
from knowledge.sheets import Row
from opsdesk.errors import ParseError

Expected = GoldenQuestion.Expected
COLUMNS = {
    "question": gettext_lazy("question"),
    "expected": gettext_lazy("what has to come"),
    "documents": gettext_lazy("documents"),
    "facts": gettext_lazy("has to say"),
    "tags": gettext_lazy("tags"),
    "must": gettext_lazy("must not be lost"),
    "note": gettext_lazy("note"),
}
# What else columns and values are called.
NAMES = {
    "question": "question 问题 标准问题",
    "expected": "expected 预期 预期结果 应有结果",
    "documents": "documents document 文档 来源 出处 来源文档",
    "facts": "facts 必须包含 必含 答案要点 要点",
    "tags": "tags 标签",
    "must": "must 必答 不可丢失",
    "note": "note 备注 说明",
}
EXPECTED_NAMES = {
    Expected.ANSWERED: "answered answer 已回答 回答 应回答",
    Expected.REFUSED: "refused refuse 拒答 转人工 已转人工 应拒答",
    Expected.CLARIFIED: "clarified 反问 追问 已反问 澄清",
}
YES = {"1", "true", "yes", "y", "是", "√", "x"}  # "" and all else: no
MOST = 5000  # rows


@dataclass
class Planned:
    """A row as it would be kept."""

    number: int
    values: dict[str, Any]
    error: str = ""


def read(path: Path, name: str, base: KnowledgeBase) -> list[Planned]:
    """The rows of a sheet, each with what is wrong with it. Raises ParseError when it is no sheet
    or has no column of questions."""
    for sheet in sheets.read(path, name):
        for header in sheet.rows[: sheets.HEADER_WITHIN]:
            columns = _columns(header)
            if "question" in columns:
                below = [row for row in sheet.rows if row.number > header.number]
                if len(below) > MOST:
                    said = _("This sheet has more than %(rows)d rows. Split it.")
                    raise ParseError(said % {"rows": MOST}, permanent=True)
                return list(_planned(below, columns, base))
    raise ParseError(_("No column is called “question”."), permanent=True)


def _columns(header: Row) -> dict[str, int]:
    titles = {
        field: {str(title).casefold(), *NAMES[field].split()} for field, title in COLUMNS.items()
    }
    found: dict[str, int] = {}
    for place, cell in enumerate(header.cells):
        named = next((f for f, names in titles.items() if cell.strip().casefold() in names), "")
        if named:
            found.setdefault(named, place)
    return found


def _planned(
    rows: Iterable[Row], columns: dict[str, int], base: KnowledgeBase
) -> Iterator[Planned]:
    seen: dict[str, int] = {}
    for row in rows:
        cells = {field: row.cell(place).strip() for field, place in columns.items()}
        if not any(cells.values()):
            continue
        planned = Planned(row.number, {"question": cells.get("question", "")})
        try:
            planned.values = _values(cells, base)
        except ValueError as error:
            planned.error = str(error)
        else:
            digest = golden.digest(planned.values["question"])
            if digest in seen:
                said = _("The same question stands in row %(row)d.")
                planned.error = said % {"row": seen[digest]}
            seen.setdefault(digest, row.number)
        yield planned


def _values(cells: dict[str, str], base: KnowledgeBase) -> dict[str, Any]:
    """What a row says; ValueError with a sentence when it cannot be."""
    question = " ".join(cells["question"].split())
    if not question:
        raise ValueError(_("There is no question."))
    if len(question) > golden.QUESTION:
        said = _("The column “%(field)s” is longer than %(most)d characters.")
        raise ValueError(said % {"field": COLUMNS["question"], "most": golden.QUESTION})
    values: dict[str, Any] = {"question": question}
    if "expected" in cells:
        values["expected"] = _expected(cells["expected"])
    if "documents" in cells:
        values["documents"] = [_document(one, base) for one in _lines(cells["documents"], 500)]
    for field, longest in (("facts", 200), ("tags", 50)):
        if field in cells:
            values[field] = _lines(cells[field], longest, "，,;；" if field == "tags" else "")
    if "must" in cells:
        values["must"] = cells["must"].casefold() in YES
    if "note" in cells:
        values["note"] = cells["note"][:500]
    return values


def _expected(cell: str) -> str:
    if not cell:
        return Expected.ANSWERED
    for value, names in EXPECTED_NAMES.items():
        if cell.casefold() in {*names.split(), str(value.label).casefold()}:
            return value
    said = _("“%(cell)s” is none of: %(values)s.")
    values = "、".join(str(label) for label in Expected.labels)
    raise ValueError(said % {"cell": cell[:40], "values": values})


def _document(title: str, base: KnowledgeBase) -> Document:
    if found := golden.matching(title, base.pk):
        return found
    said = _("There is no document “%(title)s” in this base, or several.")
    raise ValueError(said % {"title": title[:80]})


def _lines(cell: str, longest: int, marks: str = "") -> list[str]:
    for mark in marks:
        cell = cell.replace(mark, "\n")
    lines = list(dict.fromkeys(line.strip() for line in cell.splitlines() if line.strip()))
    if long := next((line for line in lines if len(line) > longest), ""):
        said = _("“%(word)s” is longer than %(most)d characters.")
        raise ValueError(said % {"word": long[:40], "most": longest})
    return lines


@transaction.atomic
def keep(rows: Iterable[Planned], base: KnowledgeBase, user: Any) -> tuple[int, int]:
    """Keep the good rows, changing questions that are there; how many are new and changed."""
    new = changed = 0
    for row in rows:
        if row.error:
            continue
        values = dict(row.values)
        documents, question = values.pop("documents", None), values.pop("question")
        before = GoldenQuestion.objects.filter(
            knowledge_base=base, digest=golden.digest(question)
        ).first()
        made = before or golden.add(question, golden.Source.IMPORT, base=base, user=user)
        for name, value in values.items():
            setattr(made, name, value)
        made.save()
        if documents is not None and not _same(made, documents):
            made.sources.all().delete()
            golden.name(made, (), documents)
        new, changed = new + (before is None), changed + (before is not None)
    return new, changed


def _same(question: GoldenQuestion, documents: list[Document]) -> bool:
    """Whether these documents are named already; then the passages are kept."""
    named = {source.document_id for source in question.sources.all()}
    return named == {document.pk for document in documents}


def exported(questions: Iterable[GoldenQuestion]) -> Iterator[list[str]]:
    """A header and a row for each, as an import reads them."""
    yield [str(title) for title in COLUMNS.values()]
    for one in questions:
        documents = dict.fromkeys(
            source.external_id or source.title for source in one.sources.all()
        )
        yield [
            one.question, str(one.get_expected_display()), "\n".join(documents),
            "\n".join(one.facts), "，".join(one.tags), _("yes") if one.must else "", one.note,
        ]  # fmt: skip

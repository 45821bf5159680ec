"""FAQ sheets: rows of a CSV or Excel file as entries, and entries as rows.

A row becomes the entry with its number, or else the one that asks the same question. What
a column that is not there would say is left as it is. A sheet that was exported comes back
without a change.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path, PurePath
from tempfile import NamedTemporaryFile
from typing import Any

from django.core.files.base import File
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from knowledge import entries, parsing
from knowledge.chunking import letters
from knowledge.models import Entry, KnowledgeBase
from knowledge.parsing import detection, records
from opsdesk.errors import ParseError

MAX_BYTES = 20 * 1024**2
HEADER_WITHIN = 10  # rows
WORKBOOK = f"{detection.OOXML}spreadsheetml.sheet"
CSV = {"text/csv", "text/tab-separated-values", "text/plain"}

FIELDS: dict[str, Promise] = {
    "question": gettext_lazy("question"),
    "answer": gettext_lazy("answer"),
    "variants": gettext_lazy("other questions"),
    "category": gettext_lazy("category"),
    "product": gettext_lazy("product"),
    "version": gettext_lazy("product version"),
    "environment": gettext_lazy("environment"),
    "tags": gettext_lazy("tags"),
    "expires_on": gettext_lazy("expires on"),
    "key": gettext_lazy("number"),
}
LONGEST = {
    "question": entries.QUESTION,
    "answer": entries.ANSWER,
    "category": 200,
    "product": 100,
    "version": 100,
    "environment": 100,
    "key": 200,
}
TAG = 50
# What columns are called, without spaces, marks and what stands in brackets.
NAMES = {
    "question": "问题 标准问题 标准问 主问题 问 问句 提问 常见问题 用户问题 客户问题 问题描述"
    " 问题内容 问题标题 问题名称 标题 question questions q standardquestion title",
    "answer": "答案 标准答案 参考答案 回答 答复 回复 解答 答 答案内容 回复内容 解决方案 解决方法"
    " 解决办法 处理方案 处理方法 处理办法 处理措施 处理步骤 answer answers a reply solution"
    " resolution response",
    "variants": "其他问法 其它问法 相似问题 相似问法 相似问 扩展问题 扩展问法 扩展问 同义问题"
    " 同义问法 同义问 其他问题 问法 别名 变体 variants otherquestions similarquestions"
    " alternativequestions aliases variations utterances",
    "category": "分类 类别 类目 目录 模块 问题分类 问题类别 问题类型 所属分类 知识分类 category"
    " categories type class module",
    "product": "产品 产品名称 适用产品 所属产品 系统 所属系统 应用 product system application",
    "version": "版本 产品版本 适用版本 版本号 version productversion release",
    "environment": "环境 适用环境 部署环境 运行环境 environment env",
    "tags": "标签 关键词 关键字 tags tag labels keywords",
    "expires_on": "失效日期 失效时间 过期日期 过期时间 到期日期 到期日 到期时间 有效期至 有效期"
    " 截止日期 expires expireson expirydate expirationdate validuntil",
    "key": "编号 编码 问题编号 知识编号 主键 唯一标识 id key no number code externalid",
}
_FIELD_OF = {name: field for field, names in NAMES.items() for name in names.split()}
_BRACKETS = re.compile(r"[(（\[【].*?[)）\]】]")
_MARKS = re.compile(r"[\s*＊:：_\-/.#]+")
_DATE = re.compile(
    r"(?P<year>\d{4})\s*(?P<mark>[-/.年]?)\s*(?P<month>\d{1,2})\s*[-/.月]?\s*(?P<day>\d{1,2})\s*日?"
    r"(?:[ T]\d{1,2}:\d{2}.*)?"
)
# What a spreadsheet program would take for a formula when it opens a CSV file.
_FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")


@dataclass(frozen=True)
class Row:
    number: int  # as a spreadsheet program counts
    cells: list[str]

    def cell(self, column: int | None) -> str:
        return self.cells[column] if column is not None and column < len(self.cells) else ""


@dataclass(frozen=True)
class Sheet:
    name: str
    rows: list[Row]


@dataclass
class Mapping:
    """Which sheet is meant, the number of its header row (0: it has none) and the columns."""

    sheet: int = 0
    header: int = 1
    columns: dict[str, int] = field(default_factory=dict)  # by field, from 0
    publish: bool = True  # else the rows become drafts

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass
class Planned:
    """A row as it would be stored."""

    number: int
    values: dict[str, Any]
    error: str = ""
    entry: Entry | None = None  # that it changes, or is
    change: str = ""  # new, changed, unchanged; of a good row


# --- reading ------------------------------------------------------------------------


@contextmanager
def copied(file: File) -> Iterator[Path]:
    """What was uploaded, where it can be read by its path."""
    with NamedTemporaryFile(prefix="opsdesk-") as copy:
        for piece in file.chunks():
            copy.write(piece)
        copy.flush()
        yield Path(copy.name)


def read(path: Path, name: str) -> list[Sheet]:
    """The sheets of a file, with their rows that are not empty.

    Raises ParseError when it is no CSV file or workbook, is damaged, or too large.
    """
    if path.stat().st_size > MAX_BYTES:
        message = _("This sheet is larger than %(megabytes)d MB. Split it.")
        raise ParseError(message % {"megabytes": MAX_BYTES // 1024**2}, permanent=True)
    kind = parsing.media_type(path, name)
    if kind == WORKBOOK:
        parsed = parsing.rows(path)
        return [
            Sheet(title, [Row(int(row[0]), row[1:]) for row in block.rows])
            for title, block in zip(parsed.page_names, parsed.blocks, strict=True)
        ]
    if kind in CSV and PurePath(name).suffix.lower() in {".csv", ".tsv", ".txt"}:
        return [Sheet("", list(_csv(detection.decode(path.read_bytes()))))]
    raise ParseError(_("This is no sheet. Save it as XLSX or CSV."), permanent=True)


def _csv(text: str) -> Iterator[Row]:
    first = text[:4096].partition("\n")[0]
    delimiter = max(",\t;", key=first.count)
    try:
        lines = enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 1)
        for found, (number, cells) in enumerate((line for line in lines if any(line[1])), 1):
            if found > records.ROWS:
                message = _("This sheet has more than %(rows)d rows. Split it.")
                raise ParseError(message % {"rows": records.ROWS}, permanent=True)
            yield Row(number, [_unguarded(cell) for cell in cells[: records.COLUMNS]])
    except csv.Error as error:
        raise ParseError(_("This CSV file is damaged: %s") % error, permanent=True) from error


def guess(sheets: list[Sheet]) -> Mapping:
    """The first sheet and row whose cells name a question and an answer, or the first there is."""
    for index, sheet in enumerate(sheets):
        for row in sheet.rows[:HEADER_WITHIN]:
            columns = columns_of(row)
            if {"question", "answer"} <= columns.keys():
                return Mapping(index, row.number, columns)
    first = next((index for index, sheet in enumerate(sheets) if sheet.rows), 0)
    return Mapping(first, sheets[first].rows[0].number if sheets and sheets[first].rows else 0)


def columns_of(header: Row) -> dict[str, int]:
    """The column of each field that a header names; the first where two would do."""
    columns: dict[str, int] = {}
    for column, cell in enumerate(header.cells):
        name = _MARKS.sub("", _BRACKETS.sub("", cell)).casefold()
        if named := _FIELD_OF.get(name):
            columns.setdefault(named, column)
    return columns


def header_row(sheet: Sheet, number: int) -> Row:
    return next((row for row in sheet.rows if row.number == number), Row(number, []))


def column_names(sheet: Sheet, header: Row) -> list[tuple[int, str]]:
    """Every column with what a person calls it: its letter and its header."""
    width = max((len(row.cells) for row in sheet.rows), default=0)
    return [(n, f"{letters(n + 1)} {header.cell(n)[:30]}".strip()) for n in range(width)]


# --- planning -----------------------------------------------------------------------


def plan(base: KnowledgeBase, sheet: Sheet, mapping: Mapping) -> list[Planned]:
    """What would become of each row below the header."""
    planned = list(judged(sheet, mapping))
    match(base, [row for row in planned if not row.error])
    return planned


def judged(sheet: Sheet, mapping: Mapping) -> Iterator[Planned]:
    """The rows below the header, with what is wrong with them; looks at nothing but the sheet."""
    keys: dict[str, int] = {}
    questions: dict[str, int] = {}
    for row in sheet.rows:
        if row.number <= mapping.header:
            continue
        if not any(row.cell(column).strip() for column in mapping.columns.values()):
            continue
        planned = _judge(row, mapping.columns)
        if not planned.error:
            planned.error = _twice(planned, keys, questions)
        yield planned


def _judge(row: Row, columns: dict[str, int]) -> Planned:
    planned = Planned(row.number, {})
    for name, column in columns.items():
        try:
            planned.values[name] = value(name, row.cell(column))
        except ValueError as error:
            planned.values[name] = row.cell(column)
            planned.error = planned.error or str(error)
    if not planned.values.get("question"):
        planned.error = _("There is no question.")
    elif not planned.values.get("answer"):
        planned.error = _("There is no answer.")
    return planned


def value(name: str, cell: str) -> Any:
    """What a cell says of a field; ValueError with a sentence when it cannot be that."""
    if name == "variants":
        values = _list(cell, "|｜；", entries.QUESTION, _("One of the other questions"))
        if len(values) > entries.VARIANTS:
            limit = {"most": entries.VARIANTS}
            raise ValueError(_("There are more than %(most)d other questions.") % limit)
        return values
    if name == "tags":
        return _tags(cell)
    if name == "expires_on":
        return _date(cell)
    text = entries.prose(cell) if name == "answer" else entries.line(cell)
    if len(text) > LONGEST[name]:
        facts = {"field": FIELDS[name], "most": LONGEST[name]}
        raise ValueError(_("The column “%(field)s” is longer than %(most)d characters.") % facts)
    return text


def _tags(cell: str) -> list[str]:
    return _list(cell, ",，;；、|｜", TAG, _("One of the tags"))


def _list(cell: str, marks: str, longest: int, what: str) -> list[str]:
    """The parts of a cell: its lines, or if it is one line what stands between `marks`."""
    parts = re.split(r"\r\n?|\n", cell)
    if len(parts) == 1:
        parts = re.split(f"[{marks}]", cell)
    values = list(dict.fromkeys(filter(None, map(entries.line, parts))))
    if any(len(value) > longest for value in values):
        facts = {"what": what, "most": longest}
        raise ValueError(_("%(what)s is longer than %(most)d characters.") % facts)
    return values


def _date(cell: str) -> date | None:
    cell = cell.strip()
    if not cell:
        return None
    if found := _DATE.fullmatch(cell):
        try:
            return date(*(int(found[part]) for part in ("year", "month", "day")))
        except ValueError:
            pass
    raise ValueError(_("“%(cell)s” is no date; write 2026-01-31.") % {"cell": cell[:40]})


def _twice(planned: Planned, keys: dict[str, int], questions: dict[str, int]) -> str:
    """Why the row is another's double, or ""; remembers it otherwise."""
    key = planned.values.get("key", "")
    asked = entries.normal(planned.values["question"])
    if key and key in keys:
        return _("The same number stands in row %(row)d.") % {"row": keys[key]}
    if asked in questions:
        return _("The same question stands in row %(row)d.") % {"row": questions[asked]}
    if key:
        keys[key] = planned.number
    questions[asked] = planned.number
    return ""


def match(base: KnowledgeBase, planned: list[Planned]) -> None:
    """Find the entry that each row is: by its number, else by its question."""
    keyed = dict(base.entries.exclude(key="").values_list("key", "pk"))
    found = {row.number: keyed.get(row.values.get("key", ""), 0) for row in planned}
    taken = set(found.values())
    asked = entries.known(base)
    for row in planned:
        pk = asked.get(entries.normal(row.values["question"]), 0)
        if not found[row.number] and pk not in taken:
            found[row.number] = pk
            taken.add(pk)
    held = Entry.objects.defer("context").in_bulk(taken - {0})
    for row in planned:
        row.entry = held.get(found[row.number])
        row.change = "new" if row.entry is None else "changed" if _differs(row) else "unchanged"


def _differs(row: Planned) -> bool:
    return any(getattr(row.entry, name) != value for name, value in said(row.values).items())


def said(values: dict[str, Any]) -> dict[str, Any]:
    """Without an empty number: it does not take an entry's away."""
    return {name: value for name, value in values.items() if name != "key" or value}


def counts(planned: Iterable[Planned]) -> dict[str, int]:
    """Rows by "new", "changed", "unchanged" and "refused"."""
    counted = dict.fromkeys(("new", "changed", "unchanged", "refused"), 0)
    for row in planned:
        counted["refused" if row.error else row.change] += 1
    return counted


# --- writing ------------------------------------------------------------------------


def exported(rows: Iterable[Entry]) -> Iterator[list[str]]:
    """A header and a row for each entry, as an import reads them."""
    yield [str(title) for title in FIELDS.values()]
    for entry in rows:
        yield [shown(getattr(entry, name), name) for name in FIELDS]


def template() -> Iterator[list[str]]:
    """An empty sheet with one row that shows how it is meant."""
    yield [str(title) for title in FIELDS.values()]
    yield [
        _("How do I see the log of nginx?"),
        _("Run `journalctl -u nginx -e` on the machine."),
        _("nginx log\nWhere are the logs of nginx?"),
        _("Web server"), "nginx", "1.24", _("production"), _("log, nginx"), "2030-12-31", "FAQ-001",
    ]  # fmt: skip


def to_csv(rows: Iterable[list[str]]) -> bytes:
    """With the mark by which Excel knows UTF-8, and no cell that it would run."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_guarded(cell) for cell in cells] for cells in rows)
    return text.getvalue().encode("utf-8-sig")


def to_xlsx(
    rows: Iterable[list[str]],
    title: str = "FAQ",
    widths: Iterable[int] = (40, 80, 40, *[16] * 7),
) -> bytes:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    sheet = book.create_sheet(title)
    for number, width in enumerate(widths, 1):
        sheet.column_dimensions[letters(number)].width = width
    for cells in rows:
        made = [WriteOnlyCell(sheet, entries.printable(cell)) for cell in cells]
        for cell in made:
            cell.data_type = "s"  # text, even where it begins like a formula
        sheet.append(made)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def shown(value: Any, name: str = "") -> str:
    if name == "tags":
        return "，".join(value)
    if isinstance(value, list):
        # One line would be cut at its own marks.
        alone = len(value) == 1 and re.search("[|｜；]", value[0])
        return "\n".join(value) + "\n" * bool(alone)
    return "" if value is None else str(value)


def _guarded(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell

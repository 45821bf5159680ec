"""A block of a document as pieces that a chunk holds whole: sentences, rows, lists, commands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from knowledge.parsing.document import Block, ParsedDocument
from knowledge.sentences import fit, sentences

LIMIT = 2000  # characters; nothing longer is kept whole
ASIDE = 150  # characters of a cell beside a question and its answer; a longer one is part of that

_QUESTION = re.compile(
    r"(标准|常见|用户|客户|典型)?(问题|问句|提问|问法|疑问|问)(描述|内容|标题|名称)?|q|questions?",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"(标准|参考|官方)?(答案|回答|答复|回复|解答|答)(内容)?"
    r"|(解决|处理|应对)(方案|方法|办法|措施|步骤)|a|answers?|solutions?|resolutions?|reply",
    re.IGNORECASE,
)
# Columns that say what a row is about, not what it answers; 原因 or 备注 may be part of the answer.
_ABOUT = re.compile(
    r"(问题|知识|适用|所属|产品|软件|部署|运行|业务|一级|二级|三级)*"
    r"(编号|编码|序号|主键|产品|系统|应用|平台|版本号?|环境|分类|类别|类型|类目|模块|目录|标签"
    r"|关键[词字]|状态|来源|作者|(失效|过期|到期|截止|生效|创建|录入|更新|修改|审核|发布)(日期|时间|日)"
    r"|有效期至?|(创建|录入|更新|修改|维护|审核|提交)(人|者|人员))(名称?)?"
    r"|id|key|no|number|code|product|system|application|version|release|environment|env|category"
    r"|type|module|tags?|labels?|keywords?|status|source|author|(created|updated|expires)(on|at|by)?",
    re.IGNORECASE,
)
_OTHERWISE = re.compile(
    r"(其[他它]|相似|扩展|同义)(的)?(标准)?(问题|问法|问句|问)|问法|variants|aliases"
    r"|(other|similar|alternative)questions",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"[\n|｜；;]+")  # several of them in a cell
_MARKS = re.compile(r"[\s*＊_\-/.#]+|[(（\[【].*?[)）\]】]")
_ITEM = re.compile(r"\n(?=(?:[-*+•·]|\d+[.)、]|[（(]\d+[)）])\s)")  # items at the margin only
_INTRO = re.compile(r"[:：]\s*\Z")


@dataclass(frozen=True)
class Piece:
    """Text that stays together. Pieces of one block follow each other after `joint`."""

    text: str
    block: int  # index into ParsedDocument.blocks
    page: int | None = None
    kind: Literal["text", "table", "code"] = "text"
    joint: str = ""
    glued: bool = False  # to the piece after it: the line that introduces a command, a heading
    header: str = ""  # of a table, repeated where a chunk starts among its rows
    row: int | None = None
    question: str = ""  # of a row that answers one: a chunk of its own
    questions: tuple[str, ...] = ()  # the same in other words
    about: tuple[str, ...] = ()  # what else the row says of itself, such as "版本：5.2"
    alone: bool = False  # in cells with coordinates: not in one chunk with other blocks
    asset: int | None = None


def pieces(parsed: ParsedDocument, index: int) -> list[Piece]:
    """The pieces of block `index`, none longer than LIMIT."""
    block = parsed.blocks[index]
    if block.kind == "table" and block.rows:
        made = _table(block, index)
    elif block.kind == "code":
        made = [Piece(text, index, kind="code", joint="\n\n") for text in _code(block)]
    elif block.kind == "formula":
        made = [Piece(text, index) for text in fit(f"$$\n{block.text.strip()}\n$$", LIMIT)]
    elif block.kind == "list":
        made = [Piece(text, index, joint="\n") for text in _list(block.text.strip("\n"))]
    else:
        made = _prose(block.text.strip(), index)
    made = [piece for piece in made if piece.text.strip()]
    if block.asset is not None and not any(piece.question for piece in made):
        made = _shown(parsed, block, index, made)
    return [replace(piece, page=block.page) for piece in made]


def heading(text: str, level: int, index: int, page: int | None) -> Piece:
    """A heading that stands in the text of a chunk, because the chunk holds several sections."""
    return Piece(f"{'#' * min(level, 6)} {text}", index, page, glued=True)


def _prose(text: str, index: int) -> list[Piece]:
    made = [Piece(part, index) for sentence in sentences(text) for part in fit(sentence, LIMIT)]
    if made and _INTRO.search(text):
        made[-1] = replace(made[-1], glued=True)
    return made


def _shown(parsed: ParsedDocument, block: Block, index: int, made: list[Piece]) -> list[Piece]:
    """Link the block's picture or table to its pieces and put its caption before them, unless
    the blocks beside it say the caption already."""
    asset = parsed.assets[block.asset or 0]
    caption = asset.caption.strip()
    if asset.number and asset.number not in caption:
        caption = f"{asset.number} {caption}".strip()
    beside = [
        block,
        *parsed.blocks[max(index - 1, 0) : index],
        *parsed.blocks[index + 1 : index + 2],
    ]
    if caption and not any(caption in other.text for other in beside if not other.hidden):
        said = [Piece(part, index, joint="\n\n", glued=True) for part in fit(caption, LIMIT)]
        made = said + [replace(piece, joint="\n\n") for piece in made[:1]] + made[1:]
    # A picture without words goes with the text around it.
    return [replace(piece, asset=block.asset) for piece in made or [Piece("", index)]]


def _list(text: str) -> list[str]:
    if len(text) <= LIMIT:
        return [text]
    return [part for item in _ITEM.split(text) for part in fit(item, LIMIT)]


def _code(block: Block) -> Iterator[str]:
    """The code in fences; cut at blank lines, then at lines, only where it is too long."""
    code = block.text.strip("\n")
    ticks = max((len(run) for run in re.findall(r"`{3,}", code)), default=2) + 1
    fence = "`" * ticks
    opening = f"{fence}{block.language}\n"
    room = LIMIT - len(opening) - len(fence) - 1
    for part in _lines(code, room):
        yield f"{opening}{part}\n{fence}"


def _lines(code: str, room: int) -> Iterator[str]:
    """`code` in parts of at most `room` characters, joined by line ends. Only a line that is
    longer by itself is cut."""
    while len(code) > room:
        cut = code.rfind("\n\n", 1, room + 1)
        if cut <= 0:
            cut = code.rfind("\n", 1, room + 1)
        if cut <= 0:
            yield code[:room]
            code = code[room:]
        else:
            yield code[:cut]
            code = code[cut + 1 :]
    yield code


def _table(block: Block, index: int) -> list[Piece]:
    asked = _question_and_answer(block)
    header_rows = asked[0] if asked else block.header_rows
    names = _column_names(block, header_rows - 1 if asked else 0, header_rows)
    body = range(header_rows, len(block.rows))
    if asked:
        # Titles above the header; the header itself becomes the chunks' two parts.
        made = [
            Piece(_line(cells), index, kind="table", row=row)
            for row, cells in enumerate(block.rows[: header_rows - 1])
            if any(cells)
        ]
        made += [piece for row in body for piece in _answered(block, index, row, names, asked[1:])]
        return [replace(piece, alone=True) for piece in made]
    header = _line(names) + "\n" + _line(["---"] * len(names)) + "\n"
    if len(header) > LIMIT // 2 or not body:  # too long to repeat, or all there is
        header, names, body = "", [], range(len(block.rows))
    return [
        replace(piece, alone=block.first_row is not None)
        for row in body
        for piece in _row(block.rows[row], index, row, names, header)
    ]


def _column_names(block: Block, first: int, end: int) -> list[str]:
    """What stands in each column of the rows from `first` up to `end`."""
    width = max(len(row) for row in block.rows)
    header = block.rows[first:end]
    return [
        " ".join(" ".join(row[column].split()) for row in header if column < len(row)).strip()
        for column in range(width)
    ]


def _question_and_answer(block: Block) -> tuple[int, int, int] | None:
    """Of a table that holds questions and answers: its header rows, and the two columns. The
    header may stand under a title, and a parser may not have recognised it."""
    for row, cells in enumerate(block.rows[:4]):
        names = ["".join(cell.split()) for cell in cells]
        question = [column for column, name in enumerate(names) if _QUESTION.fullmatch(name)]
        answer = [column for column, name in enumerate(names) if _ANSWER.fullmatch(name)]
        if question and answer:
            return row + 1, question[0], answer[0]
    return None


def _answered(
    block: Block, index: int, row: int, names: list[str], columns: tuple[int, ...]
) -> list[Piece]:
    cells = block.rows[row] + [""] * (len(names) - len(block.rows[row]))
    question, answer = (cells[column].strip() for column in columns)
    if not question or not answer:  # nothing that could be shown as an answer
        text = "\n".join(_named(cells, names))
        return [Piece(part, index, row=row, joint="\n") for part in fit(text, LIMIT)]
    if len(question) > LIMIT // 2:
        return [Piece(part, index, row=row) for part in fit(f"{question}\n\n{answer}", LIMIT)]
    about, asked, others = _beside(cells, names, columns)
    text = answer + "\n" * 2 * bool(others) + "\n".join(others)
    made = Piece("", index, row=row, question=question, questions=asked, about=about)
    return [replace(made, text=part) for part in fit(text, LIMIT)]


def _beside(
    cells: list[str], names: list[str], skip: tuple[int, ...]
) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """The other cells of a row: what it is about, its question in other words, more to show."""
    about: list[str] = []
    asked: list[str] = []
    others: list[str] = []
    for column, (name, cell) in enumerate(zip(names, cells, strict=True)):
        if column in skip or not cell.strip():
            continue
        plain, ways = _MARKS.sub("", name), [way.strip() for way in _BETWEEN.split(cell)]
        (said,) = _named([cell], [name])
        if _OTHERWISE.fullmatch(plain) and max(map(len, ways)) <= ASIDE:
            asked += filter(None, ways)
        elif _ABOUT.fullmatch(plain) and len(said) <= ASIDE:
            about.append(" ".join(said.split()))
        else:
            others.append(said)
    return tuple(about), tuple(asked), others


def _row(cells: list[str], index: int, row: int, names: list[str], header: str) -> Iterator[Piece]:
    """A table row in one piece; as named lines only when it is too long for that."""
    cells = cells + [""] * (len(names) - len(cells))
    line = _line(cells)
    if len(header) + len(line) <= LIMIT:
        yield Piece(line, index, kind="table", joint="\n", header=header, row=row)
        return
    for part in fit("\n".join(_named(cells, names)), LIMIT):
        yield Piece(part, index, kind="table", joint="\n", row=row)


def _named(cells: list[str], names: list[str], skip: tuple[int, ...] = ()) -> list[str]:
    named = names + [""] * (len(cells) - len(names))
    return [
        f"{name}：{cell.strip()}" if name else cell.strip()
        for column, (name, cell) in enumerate(zip(named, cells, strict=True))
        if cell.strip() and column not in skip
    ]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"

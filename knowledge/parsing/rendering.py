"""A parsed document as Markdown, for people who want to see what OpsDesk read."""

from collections.abc import Iterator
from pathlib import PurePath

from knowledge.parsing.document import Block, ParsedDocument

# What a page is called, by the name's end.
UNITS = {
    **dict.fromkeys((".ppt", ".pptx", ".odp"), "slide"),
    **dict.fromkeys((".xls", ".xlsx", ".ods"), "sheet"),
}


def to_markdown(parsed: ParsedDocument, name: str = "") -> str:
    """All of it; `name` is the file's."""
    unit = UNITS.get(PurePath(name).suffix.lower(), "page")
    return "\n\n".join(_parts(parsed, unit)) + "\n"


def _parts(parsed: ParsedDocument, unit: str) -> Iterator[str]:
    page = None
    for block in parsed.blocks:
        if block.page != page:
            page = block.page
            names = parsed.page_names
            name = names[page - 1] if page and page <= len(names) else ""
            yield f"<!-- {unit} {page} -->"
            if name and (block.kind, block.text) != ("heading", name):
                yield f"# {name}"
        text = _block(block, parsed)
        # Running headers and menus, which are not searched, stand as quotations.
        yield text if not block.hidden else "> " + text.replace("\n", "\n> ")


def _block(block: Block, parsed: ParsedDocument) -> str:
    if block.kind == "heading":
        return f"{'#' * min(block.level or 1, 6)} {block.text}"
    if block.kind == "code":
        return f"```{block.language}\n{block.text}\n```"
    if block.kind == "formula":
        return f"$$\n{block.text}\n$$"
    if block.kind == "table":
        return _table(block)
    if block.kind == "picture" and block.asset is not None:
        asset = parsed.assets[block.asset]
        return f"![{asset.caption}]({block.asset})\n{block.text}".strip()
    return block.text


def _table(block: Block) -> str:
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in row) + " |"
        for row in block.rows
    ]
    width = len(block.rows[0])
    lines.insert(1, "|" + " --- |" * width)  # Markdown knows one row of header
    return "\n".join(lines)

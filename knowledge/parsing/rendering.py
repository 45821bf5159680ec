"""A parsed document as Markdown, for people who want to see what OpsDesk read."""

from collections.abc import Iterator

from knowledge.parsing.document import Block, ParsedDocument


def to_markdown(parsed: ParsedDocument) -> str:
    return "\n\n".join(_parts(parsed)) + "\n"


def _parts(parsed: ParsedDocument) -> Iterator[str]:
    page = None
    for block in parsed.blocks:
        if block.page != page:
            page = block.page
            names = parsed.page_names
            name = names[page - 1] if page and page <= len(names) else ""
            yield f"<!-- {page} {name} -->".replace("  ", " ")
        if not block.hidden:
            yield _block(block, parsed)


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
    lines.insert(max(block.header_rows, 1), "|" + " --- |" * width)
    return "\n".join(lines)

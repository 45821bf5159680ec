"""One parser on one file, in a process of its own: `parsing_contestants.py PARSER FILE`.

Writes JSON: the text as Markdown, seconds, pages, and what was said of the file. markitdown
has an environment of its own, so nothing of OpsDesk is imported before it is asked for.
"""

import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def opsdesk(path: Path) -> dict[str, Any]:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsdesk.settings")
    django.setup()
    logging.disable(logging.CRITICAL)
    from knowledge.parsing import parse
    from knowledge.parsing.rendering import to_markdown

    started = time.perf_counter()  # Django is there already when a document is uploaded
    parsed = parse(path, path.name)
    return {
        "seconds": time.perf_counter() - started,
        "markdown": to_markdown(parsed, path.name),
        "pages": parsed.pages,
        "placed": sum(block.page is not None for block in parsed.blocks) / len(parsed.blocks),
        "boxed": sum(block.box is not None for block in parsed.blocks) / len(parsed.blocks),
        "warnings": parsed.warnings,
    }


def docvortex(path: Path) -> dict[str, Any]:
    started = time.perf_counter()
    import docvortex
    from docvortex.render.api import RenderFormat, render
    from loguru import logger

    logger.remove()
    suffix = path.suffix.lower().removeprefix(".")
    mode = {"parse_mode": "txt"} if suffix == "pdf" else {}
    result = docvortex.parse(path.read_bytes(), file_suffix=suffix, **mode)
    text = render(result.middle_json, RenderFormat.MARKDOWN)
    blocks = [block for page in result.middle_json.pages for block in page.blocks]
    return {
        "seconds": time.perf_counter() - started,
        "markdown": text,
        "pages": len(result.middle_json.pages),
        "placed": 1.0 if blocks else 0.0,
        "boxed": sum(block.bbox is not None for block in blocks) / max(len(blocks), 1),
    }


def markitdown(path: Path) -> dict[str, Any]:
    started = time.perf_counter()
    from markitdown import MarkItDown

    text = MarkItDown().convert(str(path)).markdown
    return {"seconds": time.perf_counter() - started, "markdown": text}


PARSERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "opsdesk": opsdesk,
    "docvortex": docvortex,
    "markitdown": markitdown,
}
WHOSE = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def main() -> None:
    name, path = sys.argv[1:]
    result = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no part of the result
    made = PARSERS[name](Path(path))  # what it stumbles over, the end of the log says
    peak = max(resource.getrusage(who).ru_maxrss for who in WHOSE)
    json.dump(made | {"MB": peak / 1024}, result)
    result.flush()
    os._exit(0)  # threads and pools of the libraries need no farewell


if __name__ == "__main__":
    main()

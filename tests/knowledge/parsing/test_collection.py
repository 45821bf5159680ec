"""Real documents and hostile files, where OPSDESK_DATA names a folder that has them."""

import json
import os
from pathlib import Path

import pytest

from knowledge.parsing import parse
from opsdesk.errors import ParseError

DATA = Path(os.environ.get("OPSDESK_DATA", "/nonexistent"))
DOCUMENTS = sorted((DATA / "documents" / "files").glob("*"))
HOSTILE = DATA / "hostile_files"


def hostile():
    manifest = HOSTILE / "manifest.jsonl"
    lines = manifest.read_text().splitlines() if manifest.exists() else []
    return [json.loads(line) for line in lines]


@pytest.mark.skipif(not DOCUMENTS, reason="OPSDESK_DATA is not set: 34 documents not read")
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document(path):
    assert parse(path, path.name).blocks


@pytest.mark.skipif(not hostile(), reason="OPSDESK_DATA is not set: 25 hostile files not read")
@pytest.mark.parametrize("entry", hostile(), ids=lambda entry: Path(entry["file"]).name)
def test_hostile_file(entry):
    path = HOSTILE / entry["file"]
    expected = {"encrypted": "密码", "empty": "空的"}.get(entry["category"])
    try:
        parse(path, path.name)
    except ParseError as error:
        assert str(error)
        assert expected is None or expected in str(error)
    else:
        assert expected is None
        assert not entry["expect"].startswith("reject:")

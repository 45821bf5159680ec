"""What MinerU makes of a file: its own results, or those of a server, as our document.

Runs in the parsing subprocess. MinerU and DocVortex share one format, so one reader does.
"""

import io
import json
import zipfile
from tempfile import NamedTemporaryFile

from docvortex.assets import AssetStore
from docvortex.export import materialize_middle
from docvortex.result import DocumentResult
from docvortex.schema import MiddleJson

from knowledge.parsing import detection, docvortex
from knowledge.parsing.document import ParsedDocument
from knowledge.parsing.unreadable import Unreadable
from knowledge.parsing.worker import MINERU, MINERU_RESULT


def parse(data: bytes, media_type: str) -> ParsedDocument:
    """`media_type` is MINERU_RESULT, or MINERU and the tier by which it reads the file here."""
    if media_type == MINERU_RESULT:
        return _read(*_unpack(data))
    return _read(*_run(data, media_type.removeprefix(MINERU)))


def _unpack(data: bytes) -> tuple[MiddleJson, AssetStore]:
    """The zip of a server: `middle_json.json` and the pictures that it names."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            detection.check_expansion(archive, len(data))
            middle = MiddleJson.from_dict(json.loads(archive.read("middle_json.json")))
            names = [name for name in archive.namelist() if name.startswith("images/")]
            return middle, AssetStore({name: archive.read(name) for name in names})
    except (*detection.BROKEN_ZIP, KeyError, TypeError) as error:
        raise Unreadable("broken") from error


def _run(data: bytes, tier: str) -> tuple[MiddleJson, AssetStore]:
    import mineru

    suffix = ".pdf" if b"%PDF-" in data[:1024] else ".png"
    with NamedTemporaryFile(suffix=suffix) as file:
        file.write(data)
        file.flush()
        middle, assets = materialize_middle(mineru.parse(file.name, tier=tier).middle_json)
    return middle, AssetStore(assets)


def _read(middle: MiddleJson, assets: AssetStore) -> ParsedDocument:
    parsed = docvortex.convert(DocumentResult(middle, assets), "pdf")
    producer, asked = middle.metadata.producer, (middle.extensions or {}).get("mineru")
    tier = asked.get("tier", "") if isinstance(asked, dict) else ""
    parsed.parser = f"MinerU {producer.version if producer else ''} {tier}".strip()
    return parsed

"""Cells of a sheet whose formula was never calculated, as programs other than Excel write them."""

import io
import re
import zipfile

_CELL = re.compile(
    rb"<c\b([^>]*)>\s*(<f\b[^>]*?(?:/>|>([^<]*)</f>))\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>"
)
_TYPE = re.compile(rb"\s+t\s*=\s*(?:\"[^\"]*\"|'[^']*')")


def shown(data: bytes) -> tuple[bytes, int]:
    """The workbook with such formulas as the text of their cells, and how many cells it were."""
    made: dict[str, bytes] = {}
    count = 0
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/sheet"):
                sheet, cells = _CELL.subn(_shown, archive.read(name))
                count += cells
                if cells:
                    made[name] = sheet
        return (_replaced(archive, made) if made else data), count


def _shown(match: re.Match[bytes]) -> bytes:
    attributes, formula, text = _TYPE.sub(b"", match[1]), match[2], (match[3] or b"").strip()
    value = b"<v>=" + text + b"</v>" if text else b""
    return b"<c" + attributes + b' t="str">' + formula + value + b"</c>"


def _replaced(archive: zipfile.ZipFile, made: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as copy:
        for member in archive.infolist():
            copy.writestr(member.filename, made.get(member.filename) or archive.read(member))
    return buffer.getvalue()

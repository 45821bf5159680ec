"""Office files with a password: the file inside, in all the ways Office has encrypted it."""

import io

import msoffcrypto
from msoffcrypto.exceptions import DecryptionError, FileFormatError, InvalidKeyError, ParseError

from knowledge.parsing import nested
from knowledge.parsing.document import ParsedDocument
from knowledge.parsing.unreadable import Unreadable

# Excel's own, of a workbook that is only protected against changes: it opens without asking.
UNASKED = "VelvetSweatshop"


def decrypt(data: bytes, password: str | None) -> bytes:
    """The Office file that `data` encloses. Raises Unreadable: password, wrong_password, broken."""
    opened = io.BytesIO()
    try:
        office = msoffcrypto.OfficeFile(io.BytesIO(data))
        office.load_key(password=password or UNASKED)
        office.decrypt(opened)
    except InvalidKeyError as error:
        raise Unreadable("wrong_password" if password else "password") from error
    except (DecryptionError, FileFormatError, ParseError) as error:
        raise Unreadable("broken") from error
    return opened.getvalue()


def parse(data: bytes, password: str | None, seconds: float) -> ParsedDocument:
    return nested.parse(decrypt(data, password), "", seconds)

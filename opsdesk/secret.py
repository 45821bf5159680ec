"""The secret key of an installation: made on first use, readable by its owner only."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from django.core.management.utils import get_random_secret_key


def secret_key(home: Path) -> str:
    """The key in `home`/secret.key; the file is made (mode 0600) when it is missing."""
    path = home / "secret.key"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        keep_secret(path, get_random_secret_key())
    return path.read_text().strip()


def keep_secret(path: Path, key: str) -> None:
    """Write the file unless it is there. It appears whole: of two writers the first wins."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".secret-") as file:  # mode 0600
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(file.name, path)

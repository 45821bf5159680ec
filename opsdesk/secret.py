"""The secret key of an installation: made on first use, readable by its owner only."""

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key


def secret_key(home: Path) -> str:
    """The key in `home/secret.key`; the file is made (mode 0600) when it is missing."""
    path = home / "secret.key"
    home.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(get_random_secret_key())
    return path.read_text().strip()

import os
from pathlib import Path

# Tests have a home of their own: its database server, files and secret key.
os.environ.setdefault("OPSDESK_HOME", str(Path(__file__).resolve().parent.parent / "var" / "test"))

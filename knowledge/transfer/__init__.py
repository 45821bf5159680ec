"""A whole knowledge base as one file, and back: on another installation it answers the same.

A zip: `manifest.json` with the format, the base, counts and the SHA-256 of every other member;
rows as JSON Lines; originals and pictures as `files/<SHA-256>`. Not in it: secrets of sources,
passwords, vectors (made again), who holds roles, earlier revisions, the history of edits.
Both ways hold a few rows at a time, whatever the size.
"""

from knowledge.transfer.coming import look, restore
from knowledge.transfer.format import CHUNK, ENTRY, TERM, Report, TransferError
from knowledge.transfer.leaving import export

__all__ = ["CHUNK", "ENTRY", "TERM", "Report", "TransferError", "export", "look", "restore"]

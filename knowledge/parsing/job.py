"""A file read by one subprocess after the other until all of its parts are there.

A part that kills its reader when nothing else is read is left out, with a warning; so are
the pages before it kept.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from django.conf import settings

from knowledge.parsing import parts, pictures, sandbox, worker
from knowledge.parsing.document import ParsedDocument
from knowledge.parsing.parts import PLAN, WHOLE, Part
from knowledge.parsing.unreadable import Reason, Unfinished, Unreadable

# Ends of a subprocess that the part it was at may have caused.
_SPOILT: set[Reason] = {"broken", "crashed", "memory", "timeout", "limits", "too_much"}
_STEPS = 1_000  # that fit on a command line
_LEAST = 0.3  # of PARSE_SECONDS: a subprocess is not worth starting for less


class Store(Protocol):
    """Where finished parts outlive the process that reads them."""

    def load(self) -> dict[str, bytes]: ...

    def save(self, name: str, part: bytes) -> None: ...


class Job:
    """One file on its way; `report(done, total)` counts pages and pictures."""

    def __init__(
        self,
        store: Store | None = None,
        report: Callable[[int, int], None] | None = None,
        seconds: float | None = None,
    ) -> None:
        self.store = store
        self.report = report
        self.deadline = None if seconds is None else time.monotonic() + seconds
        kept = {} if store is None else store.load()
        self.done = {name: parts.load(data) for name, data in kept.items()}
        self.kept = set(kept)
        self.pictures: list[str] = []

    def read(self, path: Path, media_type: str, password: str | None) -> ParsedDocument:
        """The whole document but the words of its pictures.

        Raises Unreadable, or Unfinished when the job's seconds are over.
        """
        orders: dict[str, object] = {"media_type": media_type}
        with path.open("rb", buffering=0) as source:
            while PLAN not in self.done and WHOLE not in self.done:
                self._run(source, orders, password, [])
            while left := self._left(self.done.get(PLAN)):
                self._run(source, orders | {"steps": left[:_STEPS]}, password, left)
        return parts.assemble(self.done)

    def read_pictures(self, parsed: ParsedDocument, chosen: list[int]) -> None:
        """Put the words of the `chosen` pictures into them."""
        self.pictures = [f"picture:{index}" for index in chosen]
        if self.pictures and not all(step in self.done for step in self.pictures):
            self._keep_all()
        while left := [step for step in self.pictures if step not in self.done][:_STEPS]:
            data = [parsed.assets[parts.numbers(step)[0]].data for step in left]
            orders: dict[str, object] = {
                "media_type": worker.PICTURES,
                "steps": left,
                "sizes": [len(one) for one in data],
            }
            with tempfile.TemporaryFile(buffering=0) as source:
                source.write(b"".join(data))
                self._run(source, orders, None, left)
        for step in self.pictures:
            pictures.fill(parsed, parts.numbers(step)[0], self.done[step].parsed.blocks)

    def keep(self, part: Part) -> None:
        """A part that is not the file's: what its reader wants to find again."""
        self.done[part.name] = part
        if self.store is not None:
            self.store.save(part.name, parts.dump(part))
            self.kept.add(part.name)

    def _left(self, plan: Part | None) -> list[str]:
        return [step for step in plan.steps if step not in self.done] if plan else []

    def _run(
        self,
        source: IO[bytes],
        orders: dict[str, object],
        password: str | None,
        left: list[str],
    ) -> None:
        """Let a subprocess do as much as its time allows."""
        before = len(self.done)
        try:
            for part in sandbox.run(source, orders, password, self._seconds()):
                self._add(part)
        except Unreadable as refusal:
            if refusal.reason not in _SPOILT or (len(self.done) == before and not left):
                raise
            if len(self.done) == before:
                self._leave_out(left[0], refusal)
        else:
            if len(self.done) == before:
                raise Unreadable("crashed")

    def _seconds(self) -> float:
        whole = float(settings.PARSE_SECONDS)
        if self.deadline is None:
            return whole
        left = self.deadline - time.monotonic()
        if left < whole * _LEAST:
            raise Unfinished
        return min(left, whole)

    def _leave_out(self, step: str, refusal: Unreadable) -> None:
        """Unless it is all that there is."""
        if step.startswith("picture:"):
            self._add(Part(step, ParsedDocument()))
            return
        if len(self.done[PLAN].steps) == 1:
            raise refusal
        pages = parts.numbers(step)
        warnings = [f"broken_pages:{', '.join(map(str, pages))}"]
        self._add(Part(step, ParsedDocument(warnings=warnings)))

    def _add(self, part: Part) -> None:
        self.done[part.name] = part
        if (PLAN in self.done and len(self.done[PLAN].steps) > 1) or self.pictures:
            self._keep_all()
        if self.report is not None:
            self.report(*self._count())

    def _keep_all(self) -> None:
        """What is read in one go need not be kept."""
        for name, part in self.done.items():
            if self.store is not None and name not in self.kept:
                self.store.save(name, parts.dump(part))
                self.kept.add(name)

    def _count(self) -> tuple[int, int]:
        plan = self.done.get(PLAN)
        steps = plan.steps if plan else [WHOLE]
        size = {step: len(parts.numbers(step)) if plan else 1 for step in steps}
        size |= dict.fromkeys(self.pictures, 1)
        return sum(size[step] for step in size if step in self.done), sum(size.values())

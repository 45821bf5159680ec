"""Reading by MinerU's models: on a MinerU server, or by its package on this machine.

Only pages are worth it, of PDFs and pictures: what Office files hold is read from the files.
"""

import hashlib
import importlib.util
import time
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import httpx
from django.conf import settings
from django.utils.translation import gettext as _
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from knowledge.parsing import detection, worker
from knowledge.parsing.document import ParsedDocument
from knowledge.parsing.job import Job
from knowledge.parsing.parts import WHOLE, Part
from knowledge.parsing.unreadable import Unfinished, Unreadable

TICKET = "mineru"  # the part that keeps the number of a job, so that a killed worker finds it
MISSED = "missed"  # the part that keeps why the file is read natively all the same
ENDED = {"completed", "partial", "failed", "canceled"}
PASSING = {408, 409, 425, 429}  # refusals that may pass, besides all of 5xx
MAX_RESULT = 512 * 1024**2
POLL = 1.0  # s
LONGEST = 3600  # s that a server may take for one file, over all calls


class Refused(Exception):
    """The tier cannot be had, for a reason that a person reads; `passing` when later it may."""

    def __init__(self, reason: str, *, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


def reads(media_type: str) -> bool:
    return media_type == "application/pdf" or media_type in detection.PICTURES


def parse(path: Path, media_type: str, tier: str, job: Job) -> ParsedDocument:
    """The file as MinerU's `tier` reads it. Raises Refused, or Unfinished to be called again."""
    if WHOLE in job.done:
        return job.done[WHOLE].parsed
    if not settings.MINERU_URL:
        return _parse_here(path, tier, job)
    try:
        with NamedTemporaryFile(prefix="opsdesk-mineru-") as result:
            _Server(job).read(path, media_type, tier, result)
            return job.read(Path(result.name), worker.MINERU_RESULT, None)
    except Unreadable as error:
        reason = _("its result cannot be read (%(reason)s)") % {"reason": error.reason}
        raise Refused(reason, passing=error.reason == "stopped") from error


def _parse_here(path: Path, tier: str, job: Job) -> ParsedDocument:
    if importlib.util.find_spec("mineru") is None:
        raise Refused(_("MinerU is not installed"), passing=False)
    try:
        return job.read(path, f"{worker.MINERU}{tier}", None)
    except Unreadable as error:
        reason = _("it failed on this machine, perhaps without its models (%(reason)s)")
        raise Refused(reason % {"reason": error.reason}, passing=False) from error


class _Server:
    """One file on a MinerU server: uploaded, asked for, waited for, fetched."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.base = settings.MINERU_URL
        key = settings.MINERU_API_KEY
        self.key = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = httpx.Client(timeout=httpx.Timeout(60, connect=5))
        self.deadline = job.deadline or time.monotonic() + settings.PARSE_SECONDS

    def read(self, path: Path, media_type: str, tier: str, result: IO[bytes]) -> None:
        """Write the zip with the server's result."""
        with self.client:
            ticket = self.job.done.get(TICKET)
            state = self._state(ticket.steps[0]) if ticket else None
            if ticket is None or state is None:
                state = self._submit(self._upload(path, media_type), tier)
                since = ticket.steps[1] if ticket else str(int(time.time()))
                ticket = Part(TICKET, ParsedDocument(), [state["job_id"], since])
                self.job.keep(ticket)
            while state["status"] not in ENDED:
                self._wait(int(ticket.steps[1]))
                state = self._ask("GET", f"/v1/parse/jobs/{state['job_id']}")
            self._fetch(_output(state), result)

    def _wait(self, since: int) -> None:
        if time.time() - since > LONGEST:
            raise Refused(_("the server takes too long"), passing=False)
        if time.monotonic() + POLL > self.deadline:
            if self.job.deadline is None:
                raise Refused(_("the server takes too long"), passing=True)
            raise Unfinished
        time.sleep(POLL)

    def _upload(self, path: Path, media_type: str) -> str:
        """The server's name for the file; it keeps by its hash what it has seen before."""
        content = path.read_bytes()
        suffix = media_type.rpartition("/")[2]
        upload = self._ask(
            "POST",
            "/v1/uploads",
            json={
                "filename": f"document.{suffix}",
                "bytes": len(content),
                "mime_type": media_type,
                "purpose": "parse",
                "sha256sum": hashlib.sha256(content).hexdigest(),
            },
        )
        if upload["status"] != "completed":
            address = urljoin(f"{self.base}/", upload["upload_url"])
            # A storage elsewhere has its own signature in the address; ours is not its business.
            ours = urlsplit(address)[:2] == urlsplit(self.base)[:2]
            headers = {**(upload.get("upload_headers") or {}), **(self.key if ours else {})}
            self._send("PUT", address, headers=headers, content=content)
            upload = self._ask("POST", f"/v1/uploads/{upload['id']}/complete")
        return str(upload["file"]["id"])

    def _submit(self, file_id: str, tier: str) -> dict[str, Any]:
        source = {"type": "file_id", "file_id": file_id}
        order = {"files": [{"source": source}], "tier": tier, "output_formats": ["zip"]}
        return self._ask("POST", "/v1/parse/jobs", json=order)

    def _state(self, job_id: str) -> dict[str, Any] | None:
        """Of a job that was ordered before; None when the server has forgotten it."""
        try:
            return self._ask("GET", f"/v1/parse/jobs/{job_id}")
        except Refused as refusal:
            if refusal.passing:
                raise
            return None

    def _fetch(self, file_id: str, result: IO[bytes]) -> None:
        address = f"{self.base}/v1/files/{file_id}/content"
        try:
            with self.client.stream(
                "GET", address, headers=self.key, follow_redirects=True
            ) as answer:
                _check(answer)
                for piece in answer.iter_bytes():
                    result.write(piece)
                    if result.tell() > MAX_RESULT:
                        raise Refused(_("its result is too large"), passing=False)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        result.flush()

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._send(method, f"{self.base}{path}", headers=self.key, **options)
        try:
            said = answer.json()
        except ValueError as error:
            raise _strange() from error
        if not isinstance(said, dict) or not {"id", "job_id"} & said.keys():
            raise _strange()
        return said

    def _send(self, method: str, address: str, **options: Any) -> httpx.Response:
        """Asking twice does no harm: an upload is known by its hash, a job only costs time."""
        attempts = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, Refused) and error.passing),
            stop=stop_after_attempt(3),
            wait=wait_random_exponential(multiplier=0.3, max=4),
            reraise=True,
        )
        return attempts(self._send_once, method, address, **options)

    def _send_once(self, method: str, address: str, **options: Any) -> httpx.Response:
        try:
            answer = self.client.request(method, address, **options)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        _check(answer)
        return answer


def _check(answer: httpx.Response) -> None:
    if not answer.is_error:
        return
    answer.read()
    try:
        reason = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        reason = answer.text
    raise Refused(
        _("the server refused with status %(status)d: %(reason)s")
        % {"status": answer.status_code, "reason": reason[:200]},
        passing=answer.status_code in PASSING or answer.status_code >= 500,
    )


def _output(state: dict[str, Any]) -> str:
    """The id of the zip that the job of one file has made."""
    files = state.get("files") or [{}]
    made = (files[0].get("output_files") or {}).get("zip")
    if made:
        return str(made["file_id"])
    error = files[0].get("error") or state.get("error") or {}
    reason = str(error.get("message") or state["status"])[:200]
    raise Refused(_("it could not read the file: %(reason)s") % {"reason": reason}, passing=False)


def _unreachable(error: httpx.HTTPError) -> Refused:
    reason = _("the server does not answer (%(reason)s)") % {"reason": type(error).__name__}
    return Refused(reason, passing=True)


def _strange() -> Refused:
    return Refused(_("the server's answer is not MinerU's"), passing=True)

"""Answers to questions that are asked again and again, kept while nothing has changed.

An answer is known by a digest of all that decides it: the question, its language and scope, the
bases that may be read with their versions, the day (documents expire), topics, tools and policies,
models, settings, and the files that the answer is made by, prompts too. So whatever changes, and
whoever may read something else, asks for another digest; nothing has to be told that it changed.
Only what stands by itself is kept: the first question of a conversation, answered from passages
alone, with nothing that failed. Its citations are held like those of any answer
(`chat.turns.finish`).
"""

import hashlib
import json
import re
import unicodedata
from dataclasses import asdict
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import F
from django.utils import timezone
from django.utils.translation import get_language

from chat import rules, tools
from chat.models import Citation, KeptAnswer, Message, Turn
from chat.state import TurnState
from knowledge.retrieval import Passage
from knowledge.scope import today
from knowledge.weighing import Query
from opsdesk import replicas

# Settings that decide an answer, beside the backends.
DECIDING = (
    "PASSAGES", "PASSAGE_CHARACTERS", "CONFIDENCE", "ANSWER_CONFIDENCE", "JUDGE", "RERANK_PASSAGES",
    "EMBEDDER", "RERANKER", "STORE", "UNDERSTAND_SECONDS",
)  # fmt: skip
# What is told of the turn that made the answer; the rest is of that one alone.
TRACED = (
    "intent", "intent_by", "mood", "query", "mended", "retrieval", "sureness", "passages", "checks",
    "model",
)  # fmt: skip
_SPACE = re.compile(r" (?=[^\x00-\x7f])|(?<=[^\x00-\x7f]) ")  # beside Chinese
_END = " \t?？!！。.~～…"
# A word of letters alone: neither part of a path, a version nor an option.
_WORD = re.compile(r"(?<![\w\-./=:\\$])[a-z]{3,}(?![\w\-./=:\\$])", re.ASCII | re.IGNORECASE)


def normalised(question: str) -> str:
    """The question without what makes no difference: width, spaces, the mark at its end, and the
    case of plain words. That of paths, options and codes counts."""
    text = " ".join(unicodedata.normalize("NFKC", question).split()).rstrip(_END)
    text = _SPACE.sub("", text)
    return _WORD.sub(lambda word: word[0].lower(), text)


def key(turn: TurnState) -> str:
    """The digest that the answer to `turn` is known by, "" when it may depend on more."""
    if not settings.KEPT_ANSWERS or not _by_itself(turn):
        return ""
    decides = [
        normalised(turn.question),
        get_language(),
        asdict(turn.scope),
        sorted((base.pk, base.version, base.name) for base in turn.bases),
        today().isoformat(),
        _who(turn),
        rules.of(turn).digest,
        [tool.name for tool in tools.offered(turn)],  # not everybody may use all
        [getattr(settings, name) for name in DECIDING],
        settings.BACKENDS,
        contents(),
        turn.tuned,
    ]  # fmt: skip
    written = json.dumps(decides, default=str, sort_keys=True)
    return hashlib.sha256(written.encode()).hexdigest()


def _who(turn: TurnState) -> Any:
    """Who asks, where tools might answer them otherwise."""
    if turn.row is None or not rules.of(turn).tools:
        return None
    conversation = turn.row.conversation
    return conversation.user_id, conversation.site_id, conversation.identity


def _by_itself(turn: TurnState) -> bool:
    """Whether nothing counts but the question: nothing was asked before, nothing sent with it."""
    return not (
        turn.asked
        or turn.attached
        or turn.unread
        or turn.summary
        or turn.collected
        or turn.previous()
        or any(one.outcome != Turn.Outcome.CHAT for one in turn.past or ())
    )


@cache
def contents() -> str:
    """A digest of the code and the content files that answers are made by."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for folder in ("chat", "knowledge", "opsdesk", "locale"):
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in (".py", ".md", ".toml", ".txt", ".json", ".mo") and file.is_file():
                digest.update(file.read_bytes())
    return digest.hexdigest()


# --- giving and keeping -----------------------------------------------------------------


def answer(turn: TurnState) -> bool:
    """End `turn` with the kept answer to its question; False, and its digest noted, without one."""
    turn.kept_as = key(turn)
    if not turn.kept_as:
        return False
    since = timezone.now() - timedelta(hours=settings.KEPT_HOURS)
    rows = KeptAnswer.objects.filter(digest=turn.kept_as, made_at__gt=since)
    kept = rows.select_related("turn__reply").first()
    if kept is None or kept.turn.reply is None:
        return False
    citations = list(kept.turn.reply.citations.order_by("n"))
    if not citations or any(one.chunk_id is None for one in citations):
        return False
    _give(turn, kept.turn, kept.turn.reply, citations)
    return True


def _give(turn: TurnState, made: Turn, reply: Message, citations: list[Citation]) -> None:
    turn.trace |= {name: made.trace[name] for name in TRACED if name in made.trace}
    turn.trace["kept"] = {"turn": made.pk, "made": made.created_at.isoformat()}
    turn.query = made.trace.get("query", turn.question)
    turn.confidence, turn.mode = made.confidence, made.trace.get("mode", "")
    turn.options = reply.data.get("options", [])
    turn.sources = [_source(citation) for citation in citations]
    turn.end(Turn.Outcome.ANSWERED, reply.text)


def _source(citation: Citation) -> Passage:
    """What was cited, as it read then: `knowledge.citing` sees whether it still does."""
    return Passage(
        chunk_id=citation.chunk_id or 0,
        document_id=citation.document_id or 0,
        revision_id=citation.revision_id or 0,
        knowledge_base_id=0,
        external_id=citation.external_id,
        title=citation.title,
        kind="",
        heading_path=[],
        question="",
        questions=[],
        text=citation.quote,
        page=citation.page,
        page_end=None,
        locator=citation.locator,
        regions=citation.regions,
        position=0,
        holds_for=("", "", ""),
        score=0.0,
        scores={},
        asked=Query({}, {}, 0),
    )


def keep(turn: Turn, state: TurnState) -> None:
    """Keep what was just answered, if it will hold for whoever asks the same, or count that it was
    given again; in the transaction that says it."""
    now = timezone.now()
    if "kept" in state.trace:
        again = KeptAnswer.objects.filter(digest=state.kept_as)
        again.update(hits=F("hits") + 1, used_at=now)
        return
    if not state.kept_as or not _will_hold(state):
        return
    KeptAnswer.objects.bulk_create(
        [KeptAnswer(digest=state.kept_as, turn=turn, made_at=now, used_at=now)],
        update_conflicts=True,
        unique_fields=["digest"],
        update_fields=["turn", "made_at", "used_at"],
    )


def _will_hold(state: TurnState) -> bool:
    # A citation does not keep what was left out of its passage: it could not be held.
    if any(one["check"] == "addressed" for one in state.trace.get("checks", ())):
        return False
    # A replica may have answered without what the version already counts.
    return bool(
        state.outcome == Turn.Outcome.ANSWERED
        and state.sources
        and not (state.degraded or state.pending or replicas.aliases())
        and not (state.topic or state.slots or state.searches or state.trace.get("tools"))
    )


def forget(reply: Message) -> None:
    """Give this answer no more: somebody said that it is bad."""
    made = [reply.data["kept"]] if reply.data.get("kept") else []
    KeptAnswer.objects.filter(turn__reply=reply).delete()
    KeptAnswer.objects.filter(turn__in=made).delete()


def clean() -> int:
    """Delete what is too old, and what was used longest ago when there is too much; a task."""
    since = timezone.now() - timedelta(hours=settings.KEPT_HOURS)
    old, _by_table = KeptAnswer.objects.filter(made_at__lt=since).delete()
    much = KeptAnswer.objects.order_by("-used_at").values_list("pk", flat=True)
    over, _by_table = KeptAnswer.objects.filter(pk__in=list(much[settings.KEPT_ANSWERS :])).delete()
    return old + over

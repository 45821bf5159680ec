"""What who takes a conversation over reads first: a paragraph that a model writes meanwhile.

The digest of `chat.digest` stands from the first moment. Where a model is configured, a task of
the short cluster puts its paragraph in the digest's place while the handoff is open. Each
statement names the messages it is from and is checked against these like a sentence of an answer;
what does not stand there is left out, and with too much of that the digest stays.
"""

import json
import logging
import time
from typing import Any

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from django_q.tasks import async_task

from chat import followups, grounding, pasting, remembering, slots, transcript
from chat.models import Summary
from chat.prompting import prompt
from handoff.models import Handoff
from knowledge.masking import masked
from opsdesk.backends import backend
from opsdesk.errors import ModelError
from opsdesk.realtime import notify

logger = logging.getLogger(__name__)

TASK = "handoff.summaries.refresh"
SECONDS = 30.0  # for the model
MESSAGES, LENGTH = 40, 1500  # the latest so many, so many characters of each
LONGEST = 300  # characters of a statement
PROMPT = "handoff.system"
# What is told, in this order.
PARTS = {
    "problem": gettext_noop("Problem: %(text)s."),
    "tried": gettext_noop("Tried: %(text)s."),
    "fact": gettext_noop("Known: %(text)s."),
    "open": gettext_noop("Still open: %(text)s."),
}
MOODS = {
    "calm": gettext_noop("calm"),
    "worried": gettext_noop("worried"),
    "impatient": gettext_noop("impatient"),
    "angry": gettext_noop("angry"),
}
_STATEMENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "part": {"enum": list(PARTS)},
        "text": {"type": "string", "maxLength": LONGEST},
        "from": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 8},
    },
    "required": ["part", "text", "from"],
    "additionalProperties": False,
}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "statements": {"type": "array", "items": _STATEMENT, "maxItems": 12},
        "mood": {"enum": list(MOODS)},
    },
    "required": ["statements", "mood"],
    "additionalProperties": False,
}


def ask_for(handoff: Handoff) -> None:
    """Have the paragraph written, in the transaction that opens the handoff."""
    if settings.BACKENDS.get("llm"):
        async_task(TASK, handoff.pk, cluster="short")


def refresh(handoff_id: int) -> None:
    """Put a model's paragraph in the place of the digest. A task; doing it again changes
    nothing."""
    handoff = _digested(handoff_id).select_related("conversation").first()
    model = backend("llm")
    if handoff is None or model is None:
        return
    try:
        with translation.override(settings.LANGUAGE_CODE):
            text = _written(model, handoff)
    except ModelError as error:
        logger.warning("The model did not sum up a handoff: %s", error)
        return
    if text and _digested(handoff_id).update(summary=text, summary_by=Summary.By.MODEL):
        group = transcript.group(handoff.conversation_id)
        told = {"type": "conversation.state", "about": "summary"}
        notify(group, told | {"conversation": str(handoff.conversation_id)})


def _digested(handoff_id: int) -> Any:
    """The handoff, while it is open and has its digest."""
    return Handoff.objects.unfinished().filter(pk=handoff_id, summary_by=Summary.By.RULES)


def _written(model: Any, handoff: Handoff) -> str:
    """Empty when most of what the model says was not said."""
    sources = _sources(handoff)
    if not sources:
        return ""
    shown = [{"n": n, "who": who, "text": text} for n, (who, text) in sources.items()]
    asking = [
        {"role": "system", "content": prompt(PROMPT).template},
        {"role": "user", "content": json.dumps({"messages": shown}, ensure_ascii=False)},
    ]
    deadline = time.monotonic() + SECONDS
    told = model.structured(asking, _SCHEMA, name="handoff", deadline=deadline)
    kept = [one for one in told["statements"] if _stands(one, sources)]
    most = len(kept) * 2 > len(told["statements"])
    named = any(one["part"] == "problem" for one in kept)
    return masked(_paragraph(kept, told["mood"])) if most and named else ""


def _sources(handoff: Handoff) -> dict[int, tuple[str, str]]:
    """What was said, by number: who and what. 0 is what was collected and summed up before."""
    conversation = handoff.conversation
    said = remembering.said(conversation.pk).filter(seq__lte=handoff.last_seq)
    latest = list(said.order_by("-seq")[:MESSAGES])[::-1]
    sources = {
        one.seq: (str(one.role), masked(pasting.read(one.text).gist)[:LENGTH]) for one in latest
    }
    earlier = Summary.objects.filter(conversation=conversation).first()
    lines = [f"{label}: {value}" for label, value in slots.collected(conversation)]
    lines += earlier.text.splitlines() if earlier else []
    return ({0: ("known", masked("\n".join(lines)))} if lines else {}) | sources


def _stands(statement: dict[str, Any], sources: dict[int, tuple[str, str]]) -> bool:
    """Whether it says nothing but what the messages say that it names."""
    text = " ".join(statement["text"].split())
    named = [sources[n][1] for n in statement["from"] if n in sources]
    if not text or len(named) != len(statement["from"]):
        return False
    if grounding.ungrounded(text, named) or followups.unsaid(text, named, told=True):
        return False
    return grounding.supported(text, "\n".join(named))


def _paragraph(statements: list[dict[str, Any]], mood: str) -> str:
    said = []
    for part, label in PARTS.items():
        texts = [one["text"].strip().rstrip("。.；;") for one in statements if one["part"] == part]
        if texts:
            said.append(_(label) % {"text": "; ".join(texts)})
    return " ".join([*said, _("Mood: %(text)s.") % {"text": _(MOODS[mood])}])

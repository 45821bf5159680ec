"""The chat part of `/api/v1/`: ask a question, read a conversation."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connection, transaction
from django.http import StreamingHttpResponse
from django.utils import translation
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chat import asking, picking, presenting, rating, runner, transcript, uploads
from chat.models import Conversation, Message, Turn
from chat.serializers import (
    AnswerSerializer,
    AskSerializer,
    BeginSerializer,
    ContactSerializer,
    ConversationSerializer,
    RatingSerializer,
    SatisfactionSerializer,
)
from knowledge.models import KnowledgeBase
from knowledge.scope import Scope
from opsdesk.errors import Conflict
from opsdesk.realtime import RECONNECTED

POLL = 0.05, 0.5  # seconds between looks at a turn: first and longest
KEEP_ALIVE = 10.0  # seconds of silence in a stream before a comment is sent
QUESTION = OpenApiExample(
    "Question",
    value={"knowledge_base": "ops", "question": "How do I restart nginx?"},
    request_only=True,
)


class NoRunner(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "no_runner"

    def __init__(self) -> None:
        super().__init__(_("Nothing answers questions right now: no `run_turns` process is alive."))


class EventStreamRenderer(BaseRenderer):
    """Lets `Accept: text/event-stream` through; what is rendered here are errors."""

    media_type = "text/event-stream"
    format = "event-stream"
    charset = "utf-8"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        return event("error", data)


def event(kind: str, data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


class AskView(APIView):
    """Ask a question, in a new conversation or one begun before."""

    token_scope = "read"  # noqa: S105
    renderer_classes = [JSONRenderer, EventStreamRenderer]

    @extend_schema(
        summary="Ask a question",
        description=(
            "Waits for the answer. With `Accept: text/event-stream` it streams: events `step`, "
            "`citations` (what the marks of the sentences mean), `delta` (checked sentences) and "
            "`notice` (something takes longer), `afresh` (forget the sentences so far), then "
            "`answer` with the same body as without. "
            "Status 202 says that the answer was not ready in time: read the conversation."
        ),
        request=AskSerializer,
        responses={
            200: AnswerSerializer,
            202: AnswerSerializer,
            503: OpenApiResponse(description="No process answers questions right now."),
        },
        examples=[QUESTION],
    )
    def post(self, request: Request) -> Response | StreamingHttpResponse:
        asked = AskSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        with transaction.atomic():  # without a runner no conversation is left behind
            conversation = self._conversation(request, asked.validated_data)
            if conversation.state == Conversation.State.BOT and not runner.alive():
                raise NoRunner
        said = _said(conversation, asked.validated_data)
        if request.accepted_media_type == EventStreamRenderer.media_type:
            stream = StreamingHttpResponse(
                _stream(conversation, said), content_type="text/event-stream"
            )
            stream["Cache-Control"] = "no-cache"
            stream["X-Accel-Buffering"] = "no"  # proxies pass it on as it comes
            return stream
        try:
            message, turn = asking.ask(conversation, **said)
        except uploads.Refused as refused:
            return Response({"detail": str(refused)}, status=refused.status)
        ended = turn is None or _wait(turn)
        code = status.HTTP_200_OK if ended else status.HTTP_202_ACCEPTED
        return Response(result(message), status=code)

    def _conversation(self, request: Request, asked: dict[str, Any]) -> Conversation:
        """The one named, when it is the caller's; else a new one over the base named."""
        if pk := asked.get("conversation"):
            return _mine(request, pk)
        return _begin(request, asked["knowledge_base"])


def _said(conversation: Conversation, asked: dict[str, Any]) -> dict[str, Any]:
    """What a caller says, as `asking.ask` takes it. Raises ValidationError for a pick that there
    is not."""
    said = {
        "text": asked["question"], "scope": Scope.of(asked), "uploaded": asked["uploads"],
    }  # fmt: skip
    if wanted := asked.get("pick"):
        found = picking.offered(conversation, wanted)
        if found is None:
            text = _("There is no such choice in this conversation.")
            raise ValidationError({"pick": [text]})
        said["choice"], said["text"] = found
    return said


def _mine(request: Request, pk: uuid.UUID) -> Conversation:
    mine = Conversation.objects.filter(user=request.user)
    found: Conversation = get_object_or_404(mine, pk=pk)
    return found


def _begin(request: Request, slug: str) -> Conversation:
    readable = KnowledgeBase.objects.readable_by(request.user).filter(slug=slug).first()
    if readable is None:
        raise NotFound(_("There is no such knowledge base, or you may not read it."))
    return Conversation.objects.create(
        channel=Conversation.Channel.API, user=request.user, knowledge_base=readable,
        language=translation.get_language(),
    )  # fmt: skip


class ConversationsView(APIView):
    """Begin a conversation without asking anything: to call a person, say."""

    token_scope = "read"  # noqa: S105

    @extend_schema(
        summary="Begin a conversation",
        request=BeginSerializer,
        responses={201: ConversationSerializer},
    )
    def post(self, request: Request) -> Response:
        asked = BeginSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        begun = _begin(request, asked.validated_data["knowledge_base"])
        return Response(_read(begun), status=status.HTTP_201_CREATED)


class ConversationView(APIView):
    @extend_schema(summary="Read a conversation", responses=ConversationSerializer)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        return Response(_read(_mine(request, pk)))


def _read(conversation: Conversation) -> dict[str, Any]:
    messages = presenting.shown(conversation.messages.filter(public=True).order_by("seq"))
    last = conversation.turns.order_by("-pk").first()
    return {
        "conversation": conversation.pk,
        "state": conversation.state,
        "standing": asking.desk("standing")(conversation),
        "pending": bool(last and last.status != Turn.Status.DONE),
        "last": result(last.message) if last else None,
        "messages": [presenting.message_json(message) for message in messages],
    }


class PersonView(APIView):
    """Call a person (nothing changes when one is on the way), or wait for one no longer."""

    token_scope = "read"  # noqa: S105

    @extend_schema(summary="Call a person", request=None, responses=ConversationSerializer)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        conversation = _mine(request, pk)
        asking.call_human(conversation, "asked")
        conversation.refresh_from_db()
        return Response(_read(conversation))

    @extend_schema(summary="Wait for a person no longer", responses={204: None, 409: None})
    def delete(self, request: Request, pk: uuid.UUID) -> Response:
        try:
            asking.withdraw(_mine(request, pk))
        except Conflict as conflict:
            return Response({"detail": str(conflict)}, status=status.HTTP_409_CONFLICT)
        return Response(status=status.HTTP_204_NO_CONTENT)


class ContactView(APIView):
    """Leave how one can be reached, while one waits."""

    token_scope = "read"  # noqa: S105

    @extend_schema(
        summary="Leave how to be reached",
        request=ContactSerializer,
        responses={204: None, 409: None},
    )
    def put(self, request: Request, pk: uuid.UUID) -> Response:
        left = ContactSerializer(data=request.data)
        conversation = _mine(request, pk)
        left.is_valid(raise_exception=True)
        return _done("leave_contact", conversation, left.validated_data["text"])


class SatisfactionView(APIView):
    """Say how the person who resolved the conversation helped."""

    token_scope = "read"  # noqa: S105

    @extend_schema(
        summary="Rate how a person helped",
        request=SatisfactionSerializer,
        responses={204: None, 409: None},
    )
    def put(self, request: Request, pk: uuid.UUID) -> Response:
        given = SatisfactionSerializer(data=request.data)
        conversation = _mine(request, pk)
        given.is_valid(raise_exception=True)
        said = given.validated_data
        return _done("rate", conversation, said["score"], said["comment"])


def _done(action: str, conversation: Conversation, *given: Any) -> Response:
    """Have the desk do it; 409 with its sentence when it cannot."""
    try:
        asking.desk(action)(conversation, *given)
    except Conflict as conflict:
        return Response({"detail": str(conflict)}, status=status.HTTP_409_CONFLICT)
    return Response(status=status.HTTP_204_NO_CONTENT)


class RatingView(APIView):
    """Say what one thinks of an answer."""

    token_scope = "read"  # noqa: S105

    @extend_schema(
        summary="Rate an answer", request=RatingSerializer, responses={204: None, 409: None}
    )
    def put(self, request: Request, pk: uuid.UUID, seq: int) -> Response:
        conversation = _mine(request, pk)
        said = RatingSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        try:
            rating.rate(conversation, seq, **said.validated_data)
        except Conflict as conflict:
            return Response({"detail": str(conflict)}, status=status.HTTP_409_CONFLICT)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _wait(turn: Turn) -> bool:
    """Whether the turn ended in time. Between looks the connection goes back to its pool."""
    deadline = time.monotonic() + settings.TURN_SECONDS
    pause = POLL[0]
    while not _ended(turn):
        if time.monotonic() > deadline or not runner.alive():
            return False
        if not connection.in_atomic_block:
            connection.close()
        time.sleep(pause)
        pause = min(pause * 1.5, POLL[1])
    return True


def _ended(turn: Turn) -> bool:
    return Turn.objects.filter(pk=turn.pk, status=Turn.Status.DONE).exists()


def result(message: Message) -> dict[str, Any]:
    """What a question came to so far: the body of ask's answer."""
    turn = Turn.objects.filter(message=message).select_related("conversation").first()
    said = presenting.shown(
        message.conversation.messages.filter(public=True, seq__gt=message.seq).order_by("seq")
    )
    answer = next((said_ for said_ in said if turn and said_.pk == turn.reply_id), None)
    shown = presenting.message_json(answer) if answer else None
    # A handoff says more than the reply: that a person was called, or that nobody is there.
    system = [one.text for one in said if one.role == Message.Role.SYSTEM]
    state = _state(turn)
    texts = [shown["text"]] if shown else []
    return {
        "conversation": message.conversation_id,
        "seq": answer.seq if answer else None,
        "state": state,
        "answer": "\n\n".join(texts + system if state == "handoff" else texts),
        "citations": shown["citations"] if shown else [],
        "attachments": shown["figures"] if shown else [],
        "options": shown["options"] if shown else [],
        "choices": shown["choices"] if shown else [],
        "confidence": turn.confidence if turn else None,
        "mode": shown["mode"] if shown else "",
    }


def _state(turn: Turn | None) -> str:
    """answered, clarifying, handoff, or waiting while it is being made."""
    if turn is None:
        return "handoff"
    if turn.status != Turn.Status.DONE:
        return "waiting"
    states = {
        Turn.Outcome.ANSWERED: "answered",
        Turn.Outcome.CHAT: "answered",
        Turn.Outcome.CLARIFYING: "clarifying",
    }
    return states.get(Turn.Outcome(turn.outcome), "handoff")


async def _stream(conversation: Conversation, said: dict[str, Any]) -> AsyncIterator[bytes]:
    """Events of one turn. Listens before it asks, so nothing is missed."""
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(transcript.group(conversation.pk), channel)
    heard = asyncio.create_task(layer.receive(channel))
    try:
        message, turn = await _db(partial(asking.ask, conversation, **said))
        deadline = time.monotonic() + settings.TURN_SECONDS
        ended = turn is None
        while turn and not ended and time.monotonic() < deadline:
            await asyncio.wait({heard}, timeout=KEEP_ALIVE)
            if not heard.done():
                yield b": still here\n\n"
                ended = await _db(_ended, turn)  # the hint of its end may be lost
                continue
            hint, heard = heard.result(), asyncio.create_task(layer.receive(channel))
            if hint == RECONNECTED:
                ended = await _db(_ended, turn)
            elif hint.get("turn") == turn.pk:
                if told := await _told(hint):
                    yield told
                ended = hint["type"] == "conversation.turn"
        yield event("answer", await _db(_encoded, message))
    except uploads.Refused as refused:
        yield event("error", {"detail": str(refused)})
    finally:
        heard.cancel()
        await layer.forget(channel)


async def _db(function: Any, *args: Any) -> Any:
    return await database_sync_to_async(function, thread_sensitive=False)(*args)


def _encoded(message: Message) -> dict[str, Any]:
    """`result` as plain JSON."""
    return json.loads(JSONRenderer().render(result(message)))


async def _told(hint: dict[str, Any]) -> bytes | None:
    kind = hint["type"].removeprefix("conversation.")
    if kind == "citations":
        found = await _db(presenting.passages_json, hint["chunks"])
        return event(kind, {"citations": found})
    if kind == "afresh":
        return event(kind, {})
    told = {"step": "step", "delta": "text", "notice": "text"}.get(kind)
    return event(kind, {told: hint[told]}) if told else None

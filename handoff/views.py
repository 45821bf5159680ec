"""The desk's pages in the administration: translate, check, call `handoff.desk`."""

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib import messages as notices
from django.core.exceptions import PermissionDenied
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from chat.admin import transcript_html
from chat.asking import MESSAGE_LENGTH
from chat.models import Conversation
from handoff import actions, desk, routing
from handoff.access import may_serve
from handoff.models import Agent, Handoff
from opsdesk.errors import Conflict

TAKING_OVER: dict[str, Callable[[Conversation, Any], object]] = {
    "claim": desk.claim,
    "return": desk.return_to_bot,
    "resolve": desk.resolve,
}


def _require_agent(request: HttpRequest) -> None:
    if not may_serve(request.user):
        raise PermissionDenied


def seen(user: Any) -> Agent | None:
    """Note that `user` has the desk open; their agent row, when they have one."""
    agent = Agent.objects.filter(user=user).first()
    if agent:
        agent.seen_at = timezone.now()
        agent.save(update_fields=["seen_at"])
    return agent


def pulse_now() -> str:
    """Changes whenever the queue does."""
    unfinished = Handoff.objects.unfinished()
    last = Handoff.objects.aggregate(last=Max("pk"))["last"]
    return f"{last}-{Handoff.objects.waiting().count()}-{unfinished.count()}"


@require_GET
def pulse(request: HttpRequest) -> HttpResponse:
    _require_agent(request)
    seen(request.user)
    return JsonResponse({"pulse": pulse_now(), "waiting": Handoff.objects.waiting().count()})


@require_POST
def duty(request: HttpRequest) -> HttpResponse:
    """Go on duty, or off it."""
    _require_agent(request)
    routing.duty(request.user, request.POST.get("on_duty") == "1")
    return redirect("admin:handoff_handoff_changelist")


@require_GET
def conversation(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    _require_agent(request)
    found = get_object_or_404(Conversation.objects.select_related("owner", "user"), pk=pk)
    seen(request.user)
    context = {
        **admin.site.each_context(request),
        "title": str(found),
        "conversation": found,
        "handoff": _last(found),
        "actions": actions.offered(request.user, found),
        "transcript": transcript_html(found),
        "mine": found.owner_id == request.user.pk,
        "waits": found.state in desk.WAITING,
        "left": found.owner_id and request.user.is_superuser,  # somebody's who may be gone
        "client_msg_id": uuid.uuid4().hex,
        "message_length": MESSAGE_LENGTH,
    }
    return render(request, "admin/handoff/conversation.html", context)


@require_GET
def messages(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """What came after message `after`, and whose the conversation is now (its epoch)."""
    _require_agent(request)
    found = get_object_or_404(Conversation, pk=pk)
    seen(request.user)
    try:
        after = int(request.GET.get("after", ""))
    except ValueError:
        after = 0
    return JsonResponse(
        {
            "html": transcript_html(found, after),
            "epoch": found.epoch,
            "last": found.last_seq,
            "summary": getattr(_last(found), "summary", ""),
        }
    )


def _last(found: Conversation) -> Handoff | None:
    handoffs = Handoff.objects.filter(conversation=found).select_related("satisfaction")
    return handoffs.order_by("-pk").first()


@require_POST
def act(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Take over, answer, give back or resolve, as the button says."""
    _require_agent(request)
    found = get_object_or_404(Conversation, pk=pk)
    try:
        if request.POST.get("action") == "reply":
            _reply(request, found)
        elif change := TAKING_OVER.get(request.POST.get("action", "")):
            change(found, request.user)
    except Conflict as conflict:
        notices.error(request, str(conflict))
    return redirect("admin:handoff_conversation", pk=pk)


@require_POST
def run(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Do one of `handoff.actions`, and go where it leads."""
    _require_agent(request)
    found = get_object_or_404(Conversation, pk=pk)
    try:
        done = actions.run(request.user, found, request.POST.get("action", ""))
    except Conflict as conflict:
        notices.error(request, str(conflict))
        return redirect("admin:handoff_conversation", pk=pk)
    notices.success(request, done.text)
    return redirect(done.url or reverse("admin:handoff_conversation", args=[pk]))


def _reply(request: HttpRequest, found: Conversation) -> None:
    text = request.POST.get("text", "").replace("\x00", "").strip()
    if not text or len(text) > MESSAGE_LENGTH:
        notices.error(request, _("Write 1 to %(limit)s characters.") % {"limit": MESSAGE_LENGTH})
        return
    desk.reply(found, request.user, text, request.POST.get("client_msg_id", "")[:64])

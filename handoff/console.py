"""The console's page; everything on it comes over its socket."""

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chat import views as chat
from chat.asking import MESSAGE_LENGTH
from chat.models import Rating
from chat.uploads import A_MESSAGE, TEXT_LENGTH
from handoff import access, overview
from handoff.models import Handoff

# What the console's scripts say beside what the chat page's do, whose parts it uses.
STRINGS = {
    "queue.empty": _("Nothing here."),
    "queue.bot": _("OpsDesk"),
    "queue.resolved": _("resolved"),
    "queue.waiting": _("unassigned"),
    "queue.offered": _("on offer: %(agent)s"),
    "loading": _("Loading…"),
    "choose.on": _("Choose a conversation, or wait for one to be offered."),
    "choose.off": _("You are off duty and are offered nothing. Go on duty at the top left."),
    "team.figures": _("Waiting: %(waiting)s · unfinished in all: %(all)s"),
    "timer.first": _("First answer"),
    "timer.next": _("Next answer"),
    "timer.resolve": _("Resolution"),
    "timer.left": _("%(time)s left"),
    "timer.over": _("%(time)s overdue"),
    "timer.hours": _("%(hours)s h %(minutes)s min"),
    "timer.days": _("%(days)s days"),
    "timer.paused": _("paused"),
    "timer.closed": _("paused: out of hours"),
    "timer.snoozed": _("paused: snoozed"),
    "timer.customer": _("paused: waiting for the customer"),
    "priority.2": _("high"),
    "priority.3": _("urgent"),
    "stored": _("✓ Sent"),
    "delivered": _("✓✓ Delivered"),
    "macro.held": _("Macro “%(name)s” runs in a moment: %(steps)s"),
    "queue.waits": _("waiting %(time)s"),
    "queue.snoozed": _("until %(time)s"),
    "here.viewing": _("%(who)s also has this open"),
    "here.typing": _("%(who)s is typing"),
    "customer.here": _("Customer online"),
    "customer.typing": _("The customer is typing…"),
    "customer.left": _("Customer offline"),
    "owner.you": _("You have this conversation."),
    "owner.other": _("%(agent)s has this conversation."),
    "owner.none": _("Nobody has this conversation yet."),
    "owner.bot": _("OpsDesk answers here."),
    "owner.resolved": _("Resolved."),
    "owner.offered": _("On offer to %(agent)s."),
    "owner.offered.you": _("On offer to you: %(seconds)s s"),
    "note": _("Note"),
    "reply.placeholder": _("Reply to the customer…"),
    "note.placeholder": _("A note that only staff read…"),
    "take.first": _("Take the conversation over to reply; notes can be written at any time."),
    "duty.on": _("On duty"),
    "duty.off": _("Off duty"),
    "verified": _("verified"),
    "unverified": _("not verified"),
    "load": _("%(load)s of %(capacity)s"),
    "absent": _("away"),
    "notify.offer": _("A conversation is offered to you"),
    "notify.message": _("A customer wrote"),
    "notify.waits": _("A customer waits for a person"),
    "notify.mention": _("%(agent)s mentioned you in a note"),
    "notify.on": _("Sound and notifications are on"),
    "notify.off": _("Sound and notifications are off"),
    "fact.who": _("customer"),
    "fact.channel": _("channel"),
    "fact.site": _("site"),
    "fact.base": _("knowledge base"),
    "fact.language": _("language"),
    "fact.since": _("since"),
    "fact.contact": _("how to reach the customer"),
    "fact.rating": _("rated"),
    "by.account": _("same account"),
    "by.browser": _("same browser"),
    "by.contact": _("same contact details"),
    "visitor": _("visitor"),
    "refused.4401": _("You are signed out. Sign in, then reload."),
    "refused.4403": _("You are no agent any more."),
    "assist.none": _("Nothing found."),
    "assist.drafting": _("Drafting…"),
    "assist.draft": _("Draft %(sure)s"),
    "assist.draft.guessed": _("Draft %(sure)s, from the best of several places: please check"),
    "assist.no.draft": _("The knowledge has no answer to this."),
    "earlier.none": _("No earlier conversations."),
}


@never_cache
@require_safe
@login_required(login_url="admin:login")
def page(request: HttpRequest) -> HttpResponse:
    if not access.may_serve(request.user):
        raise PermissionDenied
    vendor = f"vendor/katex-{chat.KATEX}/katex.min"
    config = {
        "strings": {**chat.STRINGS, **STRINGS},
        "length": MESSAGE_LENGTH,
        "csrf": get_token(request),
        "katex": {"script": static(f"{vendor}.js"), "style": static(f"{vendor}.css")},
        "embedded": None,
        "uploads": {"url": reverse("uploads"), "number": A_MESSAGE, "characters": TEXT_LENGTH},
    }
    context = {
        "config": config,
        "reasons": Rating.Reason.choices,
        "priorities": Handoff.Priority.choices,
        "leads": overview.may_see(request.user),
    }
    return render(request, "handoff/console.html", context)

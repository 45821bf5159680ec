"""What of the knowledge waits for a curator, on the start page."""

from django.db.models import Count, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from knowledge import permissions
from knowledge.models import Document, Entry, Status
from opsdesk.site import Panel, Row


def documents(request: HttpRequest) -> Panel | None:
    seen = permissions.bases(request.user, "view")
    if not seen.exists():
        return None
    unfinished = Q(latest__status__in=[Status.QUEUED, Status.PROCESSING])
    listed = Document.objects.exclude(origin=Document.Origin.FAQ)  # they have a panel of their own
    counts = listed.filter(knowledge_base__in=seen).aggregate(
        all=Count("pk"),
        unfinished=Count("pk", filter=unfinished),
        failed=Count("pk", filter=Q(latest__status=Status.FAILED)),
        held=Count("pk", filter=Q(latest__status=Status.HELD)),
        unapproved=Count("pk", filter=Q(approved_at=None)),
    )
    url = reverse("admin:knowledge_document_changelist")
    unread = f"{url}?latest__status__in={Status.QUEUED},{Status.PROCESSING}"
    held: Row = {
        "label": _("held back by the gate"),
        "value": counts["held"],
        "url": f"{url}?latest__status__exact={Status.HELD}",
        "level": "error",
    }
    return {
        "title": _("Documents"),
        "rows": [
            *([held] if counts["held"] else []),
            {
                "label": _("failed"),
                "value": counts["failed"],
                "url": f"{url}?latest__status__exact={Status.FAILED}",
                "level": "error" if counts["failed"] else "ok",
            },
            {
                "label": _("waiting for approval"),
                "value": counts["unapproved"],
                "url": f"{url}?approved=no",
                "level": "warning" if counts["unapproved"] else "ok",
            },
            {"label": _("being read"), "value": counts["unfinished"], "url": unread},
            {"label": _("all"), "value": counts["all"], "url": url},
        ],
    }


def entries(request: HttpRequest) -> Panel | None:
    """FAQ entries; nothing where there are none."""
    held = Entry.objects.filter(knowledge_base__in=permissions.bases(request.user, "view"))
    counts = held.aggregate(
        drafts=Count("pk", filter=Q(state=Entry.State.DRAFT)),
        published=Count("pk", filter=Q(state=Entry.State.PUBLISHED)),
    )
    if not any(counts.values()):
        return None
    url = reverse("admin:knowledge_entry_changelist")
    return {
        "title": _("FAQ entries"),
        "rows": [
            {
                "label": _("drafts to decide on"),
                "value": counts["drafts"],
                "url": f"{url}?state__exact={Entry.State.DRAFT}",
                "level": "warning" if counts["drafts"] else "ok",
            },
            {
                "label": _("published"),
                "value": counts["published"],
                "url": f"{url}?state__exact={Entry.State.PUBLISHED}",
            },
        ],
    }

"""What of the knowledge waits for a curator, on the start page."""

from django.db.models import Count, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from knowledge import permissions
from knowledge.models import Document, Status
from opsdesk.site import Panel


def documents(request: HttpRequest) -> Panel | None:
    seen = permissions.bases(request.user, "view")
    if not seen.exists():
        return None
    unfinished = Q(latest__status__in=[Status.QUEUED, Status.PROCESSING])
    counts = Document.objects.filter(knowledge_base__in=seen).aggregate(
        all=Count("pk"),
        unfinished=Count("pk", filter=unfinished),
        failed=Count("pk", filter=Q(latest__status=Status.FAILED)),
        unapproved=Count("pk", filter=Q(approved_at=None)),
    )
    url = reverse("admin:knowledge_document_changelist")
    unread = f"{url}?latest__status__in={Status.QUEUED},{Status.PROCESSING}"
    return {
        "title": _("Documents"),
        "rows": [
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

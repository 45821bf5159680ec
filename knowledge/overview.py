"""A knowledge base at a glance: what is in it, what failed, how far its indexes reach.

Every figure is one aggregate over the base; the lists are short.
"""

from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Count, Max, Q, QuerySet, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.module_loading import import_string
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from knowledge import confirmed, embedding, scope
from knowledge.models import (
    Document,
    Embedding,
    Entry,
    KnowledgeBase,
    Revision,
    Source,
    Status,
    TermSuggestion,
)
from opsdesk.site import Panel, Row

FAILURES = 10
WARNED_IN = 2_000  # documents; in a larger base looking for warnings would take too long
COMMON = 8  # products, tags


def panels(request: HttpRequest, base: KnowledgeBase) -> list[Panel]:
    """What is in `base`, then what other apps say of it (`settings.BASE_PANELS`)."""
    own = [documents(base), passages(base), others(base), learned(base), described(base)]
    made = [import_string(name)(request, base) for name in settings.BASE_PANELS]
    return [panel for panel in (*own, *made) if panel]


def failures(base: KnowledgeBase) -> QuerySet[Document]:
    """The last ones that could not be read, with why."""
    failed = base.documents.filter(latest__status=Status.FAILED)
    return failed.select_related("latest").defer("latest__parsed").order_by("-id")[:FAILURES]


def _list(model: str, base: KnowledgeBase, more: str = "") -> str:
    url = reverse(f"admin:knowledge_{model}_changelist")
    return f"{url}?knowledge_base__id__exact={base.pk}{more}"


def documents(base: KnowledgeBase) -> Panel:
    unfinished = Q(latest__status__in=[Status.QUEUED, Status.PROCESSING])
    counts = base.documents.exclude(origin=Document.Origin.FAQ).aggregate(
        all=Count("pk"),
        answering=Count("pk", filter=scope.answering() & Q(current__isnull=False)),
        failed=Count("pk", filter=Q(latest__status=Status.FAILED)),
        unfinished=Count("pk", filter=unfinished),
        unapproved=Count("pk", filter=Q(approved_at=None)),
        retired=Count("pk", filter=Q(retired_at__isnull=False)),
        expired=Count("pk", filter=Q(expires_on__lte=scope.today())),
        changed=Max("updated_at"),
    )
    unread = f"&latest__status__in={Status.QUEUED},{Status.PROCESSING}"
    failed = f"&latest__status__exact={Status.FAILED}"

    def row(label: str, value: int, more: str = "", level: str = "") -> Row:
        return {
            "label": label,
            "value": value,
            "url": _list("document", base, more),
            "level": level if value else "ok",
        }

    rows: list[Row] = [
        row(_("all"), counts["all"]),
        {"label": _("answering"), "value": counts["answering"], "level": "ok"},
        row(_("failed"), counts["failed"], failed, "error"),
        row(_("being read"), counts["unfinished"], unread),
        row(_("waiting for approval"), counts["unapproved"], "&approved=no", "warning"),
        row(_("retired"), counts["retired"], "&validity=retired"),
        row(_("expired"), counts["expired"], "&validity=expired", "warning"),
    ]
    if counts["changed"]:
        ago = _("%(time)s ago") % {"time": timesince(counts["changed"], depth=1)}
        rows.append({"label": _("last change"), "value": ago})
    return {"title": _("Documents"), "rows": rows}


def passages(base: KnowledgeBase) -> Panel:
    counts = base.chunks.aggregate(
        all=Count("pk"),
        disabled=Count("pk", filter=Q(enabled=False)),
        edited=Count("pk", filter=Q(edited=True)),
    )
    chunks = _list("chunk", base)
    rows: list[Row] = [
        {"label": _("all"), "value": counts["all"], "url": chunks},
        {"label": _("disabled"), "value": counts["disabled"], "url": f"{chunks}&enabled__exact=0"},
        {"label": _("edited"), "value": counts["edited"], "url": f"{chunks}&edited=yes"},
    ]
    if index := next(iter(embedding.answering([base.pk])), None):
        held = Embedding.objects.filter(index=index, knowledge_base=base).count()
        share = held / counts["all"] if counts["all"] else 1.0
        level = "ok" if held >= counts["all"] else "warning"
        value = f"{share:.0%}" if held in (0, counts["all"]) else f"{min(share, 0.999):.1%}"
        rows.append({"label": _("with vectors"), "value": value, "level": level})
        rows.append({"label": _("embedding index"), "value": str(index)})
    else:
        rows.append({"label": _("with vectors"), "value": _("no embedder")})
    return {"title": _("Chunks"), "rows": rows}


def others(base: KnowledgeBase) -> Panel:
    entries = base.entries.aggregate(
        drafts=Count("pk", filter=Q(state=Entry.State.DRAFT)),
        published=Count("pk", filter=Q(state=Entry.State.PUBLISHED)),
    )
    sources = base.sources.aggregate(
        all=Count("pk"), failed=Count("pk", filter=Q(state=Source.State.FAILED))
    )
    listed = _list("entry", base)
    return {
        "title": _("Around it"),
        "rows": [
            {
                "label": _("FAQ entries"),
                "value": entries["published"],
                "url": f"{listed}&state__exact=published",
            },
            {
                "label": _("drafts to decide on"),
                "value": entries["drafts"],
                "url": f"{listed}&state__exact=draft",
                "level": "warning" if entries["drafts"] else "ok",
            },
            {"label": _("sources"), "value": sources["all"], "url": _list("source", base)},
            {
                "label": _("sources that failed"),
                "value": sources["failed"],
                "url": _list("source", base, "&state__exact=failed"),
                "level": "error" if sources["failed"] else "ok",
            },
            {"label": _("terms"), "value": base.synonyms.count(), "url": _list("term", base)},
        ],
    }


def learned(base: KnowledgeBase) -> Panel:
    """What people confirmed, and how much it helps; nothing where nothing is confirmed."""
    count = confirmed.counting(base).count()
    suggested = base.term_suggestions.filter(state=TermSuggestion.State.OPEN).count()
    adapter = base.adapters.filter(active=True).defer("projection").first()
    url = reverse("admin:knowledge_knowledgebase_learned", args=[base.pk])
    rows: list[Row] = [
        {"label": _("confirmed questions"), "value": count, "url": _list("confirmedpair", base)}
    ]
    if not base.learns:
        rows.append({"label": _("learning"), "value": _("switched off"), "url": url})
    elif adapter:
        ago = _("%(time)s ago") % {"time": timesince(adapter.created_at, depth=1)}
        rows.append({"label": _("last learned"), "value": ago, "url": url})
        before, after = adapter.effect["without"]["5"], adapter.effect["with"]["5"]
        rows.append(
            {
                "label": _("among the first five"),
                "value": f"{before:.0%} → {after:.0%}",
                "url": url,
                "level": "ok",
            }
        )
    else:
        rows.append({"label": _("last learned"), "value": _("not yet"), "url": url})
    waiting = _list("termsuggestion", base, f"&state__exact={TermSuggestion.State.OPEN}")
    rows.append({"label": _("suggested terms"), "value": suggested, "url": waiting})
    return {"title": _("Learned"), "rows": rows}


def described(base: KnowledgeBase) -> Panel:
    """Size, what was warned of, and what its documents say they hold for."""
    revisions = Revision.objects.filter(document__knowledge_base=base)
    size = revisions.exclude(file="").aggregate(size=Sum("size"))["size"] or 0
    rows: list[Row] = [
        {"label": _("originals, MB"), "value": f"{size / 1024**2:,.1f}"},
        {"label": _("read with warnings"), "value": _warned(base)},
        {"label": _("made on"), "value": date_format(base.created_at)},
    ]
    for label, parameter, values in (
        (_("products"), "product", _common(base, "product")),
        (_("tags"), "tag", _common(base, "unnest(tags)")),
    ):
        rows += [
            {
                "label": f"{label}: {value}",
                "value": count,
                "url": _list("document", base, f"&{parameter}={value}"),
            }
            for value, count in values
        ]
    return {"title": _("What it is about"), "rows": rows}


def _warned(base: KnowledgeBase) -> int | str:
    current = Revision.objects.filter(pk__in=base.documents.values("current"))
    if current.count() > WARNED_IN:
        return "–"
    return current.exclude(parsed__warnings=[]).exclude(parsed=None).count()


def _common(base: KnowledgeBase, value: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT value, count(*) FROM (SELECT {value} AS value FROM knowledge_document"  # noqa: S608 - ours
            " WHERE knowledge_base_id = %s) AS said WHERE value <> ''"
            " GROUP BY value ORDER BY count(*) DESC, value LIMIT %s",
            [base.pk, COMMON],
        )
        return cursor.fetchall()

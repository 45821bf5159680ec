"""Curators' pages of documents that say the same, and of those that may be out of date."""

import difflib
import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import conditional_escape, format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from knowledge import curating, duplicates, permissions, uploading
from knowledge.models import Chunk, Document, KnowledgeBase, Similarity
from knowledge.permissions import ByBase
from opsdesk.admin import posted

PER_PAGE = 10
DOCUMENTS_PER_PAGE = 50
TOKEN = re.compile(r"[A-Za-z0-9_]+|\s+|.", re.DOTALL)
KINDS = {
    "expired": gettext_lazy("Expired"),
    "soon": gettext_lazy("Expires within 30 days"),
    "old": gettext_lazy("Not changed for long"),
    "superseded": gettext_lazy("There is a higher version"),
    "retired": gettext_lazy("Retired"),
}


@admin.register(Similarity)
class SimilarityAdmin(ByBase):
    """The list is a page of pairs side by side."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("look/", view(require_POST(self.look_view)), name="knowledge_similarity_look"),
            path("outdated/", view(self.outdated_view), name="knowledge_similarity_outdated"),
            *posted(self, {"decide": self.decide_view}),
            *super().get_urls(),
        ]

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kw: Any) -> Any:
        return redirect("admin:knowledge_similarity_changelist")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        if request.method != "GET" or not self.has_view_permission(request):
            raise PermissionDenied
        bases, base = self._bases(request)
        state = "dismissed" if request.GET.get("state") == "dismissed" else "open"
        pairs = Similarity.objects.filter(knowledge_base__in=[base] if base else bases)
        pairs = pairs.filter(_open() if state == "open" else Q(dismissed_at__isnull=False))
        pairs = pairs.select_related("first", "second", "knowledge_base", "dismissed_by")
        page = Paginator(pairs, PER_PAGE).get_page(request.GET.get("page"))
        changeable = set(permissions.bases(request.user, "change").values_list("pk", flat=True))
        context = {
            **self._context(request, bases, base),
            "title": _("Duplicates and out-of-date documents"),
            "state": state,
            "page": page,
            "rows": _rows(list(page), changeable),
            "looked": base and Similarity.objects.filter(knowledge_base=base).first(),
            "may_look": base and base.pk in changeable,
        }
        return TemplateResponse(request, "admin/knowledge/similarity/list.html", context)

    def look_view(self, request: HttpRequest) -> HttpResponse:
        base = self._posted(request)
        duplicates.enqueue(base.pk)
        messages.success(
            request,
            _("“%(base)s” is being looked through. Come back in a moment.") % {"base": base},
        )
        return self._back(request)

    def decide_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        row = get_object_or_404(Similarity, pk=pk)
        if not permissions.may(request.user, "change", row.knowledge_base_id):
            raise PermissionDenied
        decide = DECISIONS.get(request.POST.get("decision", ""))
        if decide:
            messages.success(request, decide(row, request))
        return self._back(request)

    def outdated_view(self, request: HttpRequest) -> HttpResponse:
        if request.method == "POST":
            return self._change_outdated(request)
        return self._show_outdated(request)

    def _show_outdated(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        bases, base = self._bases(request)
        kind = request.GET.get("kind", "")
        kind = kind if kind in KINDS else "expired"
        days = request.GET.get("days", "")
        age = int(days) if days in map(str, duplicates.AGES) else duplicates.AGES[1]
        asked = [one.pk for one in ([base] if base else bases)]
        documents = duplicates.outdated(asked, kind, age)
        context = {
            **self._context(request, bases, base),
            "title": _("Duplicates and out-of-date documents"),
            "kind": kind,
            "kinds": [
                (name, label, duplicates.outdated(asked, name, age).count())
                for name, label in KINDS.items()
            ],
            "age": age,
            "ages": duplicates.AGES,
            "page": Paginator(documents, DOCUMENTS_PER_PAGE).get_page(request.GET.get("page")),
            "may_change": permissions.bases(request.user, "change").filter(pk__in=asked).exists(),
        }
        return TemplateResponse(request, "admin/knowledge/similarity/outdated.html", context)

    def _change_outdated(self, request: HttpRequest) -> HttpResponse:
        ids = [pk for pk in request.POST.getlist("document") if pk.isdecimal() and len(pk) < 19]
        documents = Document.objects.filter(pk__in=ids)
        allowed = permissions.bases(request.user, "change")
        if documents.exclude(knowledge_base__in=allowed).exists():
            raise PermissionDenied
        change = CHANGES.get(request.POST.get("change", ""))
        if not ids:
            messages.warning(request, _("Choose documents first."))
        elif change:
            try:
                count = change(documents, request)
            except ValidationError as error:
                messages.error(request, " ".join(error.messages))
            else:
                said = ngettext("%(n)d document changed.", "%(n)d documents changed.", count)
                messages.success(request, said % {"n": count})
        return self._back(request)

    def _bases(self, request: HttpRequest) -> tuple[list[KnowledgeBase], KnowledgeBase | None]:
        """Those the user may see, and the one that is chosen."""
        bases = list(permissions.bases(request.user, "view"))
        wanted = request.GET.get("base", "")
        return bases, next((base for base in bases if str(base.pk) == wanted),
                           bases[0] if len(bases) == 1 else None)  # fmt: skip

    def _context(
        self, request: HttpRequest, bases: list[KnowledgeBase], base: KnowledgeBase | None
    ) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "bases": bases,
            "base": base,
            "here": request.get_full_path(),
        }

    def _posted(self, request: HttpRequest) -> KnowledgeBase:
        number = request.POST.get("base", "")
        base = get_object_or_404(KnowledgeBase, pk=number if number.isdecimal() else 0)
        if not permissions.may(request.user, "change", base):
            raise PermissionDenied
        return base

    def _back(self, request: HttpRequest) -> HttpResponse:
        here = request.POST.get("next", "")
        safe = url_has_allowed_host_and_scheme(here, {request.get_host()}, request.is_secure())
        return redirect(here if safe else reverse("admin:knowledge_similarity_changelist"))


def _open() -> Q:
    """Undecided: both still answer."""
    return Q(dismissed_at=None, first__retired_at=None, second__retired_at=None)


def _rows(pairs: list[Similarity], changeable: set[int]) -> list[dict[str, Any]]:
    examples = [one for row in pairs for one in row.examples[:1]]
    chunks = Chunk.objects.in_bulk({one[side] for one in examples for side in ("first", "second")})
    rows = []
    for row in pairs:
        example = row.examples[0] if row.examples else {}
        first, second = (chunks.get(example.get(side, 0)) for side in ("first", "second"))
        marked = compared(first.text, second.text) if first and second else ("", "")
        rows.append(
            {
                "row": row,
                "score": example.get("score"),
                "may": row.knowledge_base_id in changeable,
                "sides": [
                    {"name": "first", "document": row.first, "chunk": first, "text": marked[0]},
                    {"name": "second", "document": row.second, "chunk": second, "text": marked[1]},
                ],
            }
        )
    return rows


def compared(first: str, second: str) -> tuple[SafeString, SafeString]:
    """Two texts, escaped, with what is not in the other marked."""
    one, other = TOKEN.findall(first), TOKEN.findall(second)
    sides: tuple[list[str], list[str]] = ([], [])
    for tag, a, b, c, d in difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        for side, part in zip(sides, ("".join(one[a:b]), "".join(other[c:d])), strict=True):
            same = tag == "equal" or not part.strip()
            side.append(conditional_escape(part) if same else format_html("<mark>{}</mark>", part))
    return mark_safe("".join(sides[0])), mark_safe("".join(sides[1]))  # noqa: S308 - escaped


# --- decisions --------------------------------------------------------------------------


def _retire(side: str) -> Callable[[Similarity, HttpRequest], str]:
    def retire(row: Similarity, request: HttpRequest) -> str:
        gone, kept = (row.first, row.second) if side == "first" else (row.second, row.first)
        reason = _("duplicate of “%(title)s”") % {"title": kept.title}
        uploading.retire(Document.objects.filter(pk=gone.pk), reason)
        return _("“%(title)s” is retired. It can be restored on the list of retired documents.") % {
            "title": gone.title
        }

    return retire


def _disable(side: str) -> Callable[[Similarity, HttpRequest], str]:
    def disable(row: Similarity, request: HttpRequest) -> str:
        ids = {example[side] for example in row.examples}
        chunks = Chunk.objects.filter(pk__in=ids, knowledge_base=row.knowledge_base_id)
        count = curating.set_enabled(chunks, False, request.user)  # type: ignore[arg-type]
        row.delete()
        said = ngettext("%(n)d passage disabled.", "%(n)d passages disabled.", count)
        return said % {"n": count}

    return disable


def _dismiss(row: Similarity, request: HttpRequest) -> str:
    duplicates.dismiss(row, request.user)  # type: ignore[arg-type]
    return _("Dismissed. It is not shown again.")


def _undismiss(row: Similarity, request: HttpRequest) -> str:
    duplicates.undismiss(row)
    return _("It is shown again.")


DECISIONS: dict[str, Callable[[Similarity, HttpRequest], str]] = {
    "retire_first": _retire("first"),
    "retire_second": _retire("second"),
    "disable_first": _disable("first"),
    "disable_second": _disable("second"),
    "dismiss": _dismiss,
    "undismiss": _undismiss,
}


def _extend(documents: QuerySet[Document], request: HttpRequest) -> int:
    until = forms.DateField(required=False).clean(request.POST.get("expires_on", ""))
    return uploading.describe(documents, expires_on=until)


def _set_aside(documents: QuerySet[Document], request: HttpRequest) -> int:
    return uploading.retire(documents, _("out of date"))


CHANGES: dict[str, Callable[[QuerySet[Document], HttpRequest], int]] = {
    "extend": _extend,
    "retire": _set_aside,
    "restore": lambda documents, request: uploading.restore(documents),
    "touch": lambda documents, request: duplicates.touch(documents),
}

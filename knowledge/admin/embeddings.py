"""The curators' pages of embedding indexes: build, let answer, go back, delete; for all
knowledge bases, and for one that is answered for by an index of its own.
"""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from knowledge import embedding, permissions
from knowledge.models import Embedding, EmbeddingIndex, KnowledgeBase
from opsdesk.errors import Conflict, ModelError

CHANGELIST = "admin:knowledge_embeddingindex_changelist"
OF_BASE = "knowledge_embeddingindex_of_base"
SHOWN = 5  # bases that are named in a row


@admin.register(EmbeddingIndex)
class EmbeddingIndexAdmin(admin.ModelAdmin):
    list_display = ["what", "progress", "for_bases", "created_at", "activated_at"]
    list_select_related = ["knowledge_base"]
    list_display_links = None
    readonly_fields = [field.name for field in EmbeddingIndex._meta.fields]
    actions = ["let_answer"]
    change_list_template = "admin/knowledge/embeddingindex/change_list.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # not by a form: the settings say which index can be built

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        answers = obj is not None and obj.state == EmbeddingIndex.State.ACTIVE
        return super().has_delete_permission(request, obj) and not answers

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("build/", view(self.build_view), name="knowledge_embeddingindex_build"),
            path("go-back/", view(self.go_back_view), name="knowledge_embeddingindex_go_back"),
            path("states/", view(self.states_view), name="knowledge_embeddingindex_states"),
            path("of/<int:pk>/", view(of_base_view), name=OF_BASE),
            path("of/<int:pk>/build/", view(build_of_base_view), name=f"{OF_BASE}_build"),
            path("of/<int:pk>/use/", view(use_for_base_view), name=f"{OF_BASE}_use"),
            path("of/<int:pk>/go-back/", view(go_back_of_base_view), name=f"{OF_BASE}_go_back"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        wanted = embedding.configured()
        known = wanted and embedding.same_as(wanted)
        context = {
            "title": self.opts.verbose_name_plural,
            "wanted": wanted,
            "buildable": wanted and (not known or known.state == EmbeddingIndex.State.FAILED),
            "answering": embedding.active(),
            "may_build": request.user.has_perm("knowledge.add_embeddingindex"),
            "may_change": self.has_change_permission(request),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def get_queryset(self, request: HttpRequest) -> QuerySet[EmbeddingIndex]:
        return super().get_queryset(request).prefetch_related("bases")

    @admin.display(description=gettext_lazy("model"), ordering="model")
    def what(self, index: EmbeddingIndex) -> SafeString:
        return format_html('{}<br><span class="quiet">{}</span>', index.model, _facts(index))

    @admin.display(description=gettext_lazy("answers for"))
    def for_bases(self, index: EmbeddingIndex) -> SafeString | str:
        named = sorted(index.bases.all(), key=str)
        bases = format_html_join(
            ", ",
            '<a href="{}">{}</a>',
            ((reverse(f"admin:{OF_BASE}", args=[base.pk]), base) for base in named[:SHOWN]),
        )
        if more := len(named) - SHOWN if len(named) > SHOWN else 0:
            bases = format_html("{} +{}", bases, more)
        if index.state == EmbeddingIndex.State.ACTIVE:
            rest = _("all that name no other")
            return format_html("{}, {}", rest, bases) if named else rest
        if not named and index.knowledge_base_id:
            return format_html(
                '<span class="quiet">{}</span>',
                _("nothing yet; made for %s alone") % index.knowledge_base,
            )
        return bases

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def progress(self, index: EmbeddingIndex) -> SafeString:
        return format_html('<div data-index="{}">{}</div>', index.pk, _state(index))

    @admin.action(description=gettext_lazy("Let the selected index answer"), permissions=["change"])
    def let_answer(self, request: HttpRequest, indexes: QuerySet[EmbeddingIndex]) -> None:
        if len(indexes) != 1:
            self.message_user(request, _("Select one index."), messages.ERROR)
            return
        self._try(request, lambda: embedding.activate(indexes[0]), _("This index answers now."))

    def build_view(self, request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("knowledge.add_embeddingindex"):
            raise PermissionDenied
        return self._posted(
            request, embedding.create, _("The index is being built beside what answers now.")
        )

    def go_back_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        return self._posted(request, embedding.go_back, _("Went back to what answered before."))

    def states_view(self, request: HttpRequest) -> JsonResponse:
        """The state cell of every index, and whether one is being built."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        indexes = list(self.get_queryset(request))
        building = any(index.state == EmbeddingIndex.State.BUILDING for index in indexes)
        return JsonResponse(
            {"pending": building, "states": {index.pk: _state(index) for index in indexes}}
        )

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """The confirmation names the indexes, not each of their vectors."""
        refused = {
            str(index.model) for index in objs if not self.has_delete_permission(request, index)
        }
        return [str(index) for index in objs], {}, refused, []

    def delete_model(self, request: HttpRequest, obj: EmbeddingIndex) -> None:
        embedding.drop(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[EmbeddingIndex]) -> None:
        for index in queryset:
            embedding.drop(index)

    def _posted(self, request: HttpRequest, work: Callable[[], object], said: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._try(request, work, said)
        return redirect(CHANGELIST)

    def _try(self, request: HttpRequest, work: Callable[[], object], said: str) -> None:
        try:
            work()
        except Conflict as conflict:
            self.message_user(request, str(conflict), messages.ERROR)
        else:
            self.message_user(request, said, messages.SUCCESS)


def _facts(index: EmbeddingIndex) -> str:
    facts = [index.embedder, _("%d dimensions") % index.dimensions]
    return " · ".join(facts + [_("learned weights of words")] * index.sparse)


# --- of one knowledge base --------------------------------------------------------


@require_safe
def of_base_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Which index answers for a base, and which others can."""
    base = _base(request, pk, "view", "view")
    default = embedding.active()
    indexes = EmbeddingIndex.objects.filter(knowledge_base=base) | EmbeddingIndex.objects.filter(
        knowledge_base=None
    ).exclude(state=EmbeddingIndex.State.ACTIVE)
    ready = (EmbeddingIndex.State.READY, EmbeddingIndex.State.ACTIVE)
    answers = base.index or default
    held = Embedding.objects.filter(index=answers, knowledge_base=base).count() if answers else 0
    own = permissions.may(request.user, "change", base)
    context = {
        **admin.site.each_context(request),
        "title": _("Embedding index of %(base)s") % {"base": base},
        "opts": KnowledgeBase._meta,
        "base": base,
        "default": default,
        "answers": answers,
        "held": held,
        "chunks": base.chunks.count(),
        "rows": [
            {
                "index": index,
                "facts": _facts(index),
                "answers": index == base.index,
                "can": index.state in ready and index != base.index,
            }
            for index in indexes.order_by("-pk")
        ],
        "can_go_back": base.index_id != base.index_before_id,
        "before": base.index_before,
        "choices": embedding.choices(),
        "may_change": own and request.user.has_perm("knowledge.change_embeddingindex"),
        "may_build": own and request.user.has_perm("knowledge.add_embeddingindex"),
    }
    return TemplateResponse(request, "admin/knowledge/embeddingindex/of_base.html", context)


@require_POST
def build_of_base_view(request: HttpRequest, pk: int) -> HttpResponse:
    base = _base(request, pk, "change", "add")
    name = request.POST.get("embedder", "")

    def build() -> None:
        if name not in embedding.choices():
            raise Conflict(_("Choose an embedder from the list."))
        embedding.create(name, base)

    return _done(request, base, build, _("The index is being built beside what answers now."))


@require_POST
def use_for_base_view(request: HttpRequest, pk: int) -> HttpResponse:
    base = _base(request, pk, "change", "change")
    chosen = request.POST.get("index", "")

    def use() -> None:
        number = int(chosen[:18]) if chosen.isdecimal() else 0
        index = EmbeddingIndex.objects.filter(pk=number).first()
        if chosen and index is None:
            raise Conflict(_("This index is not there any more."))
        embedding.use(base, index)

    return _done(request, base, use, _("This index answers now."))


@require_POST
def go_back_of_base_view(request: HttpRequest, pk: int) -> HttpResponse:
    base = _base(request, pk, "change", "change")
    said = _("Went back to what answered before.")
    return _done(request, base, lambda: embedding.go_back(base), said)


def _base(
    request: HttpRequest, pk: int, right: permissions.Right, on_indexes: str
) -> KnowledgeBase:
    base = get_object_or_404(KnowledgeBase.objects.select_related("index", "index_before"), pk=pk)
    if not (
        permissions.may(request.user, right, base)
        and request.user.has_perm(f"knowledge.{on_indexes}_embeddingindex")
    ):
        raise PermissionDenied
    return base


def _done(
    request: HttpRequest, base: KnowledgeBase, work: Callable[[], object], said: str
) -> HttpResponse:
    try:
        work()
    except (Conflict, ModelError) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, said)
    return redirect(f"admin:{OF_BASE}", base.pk)


def _state(index: EmbeddingIndex) -> SafeString:
    return render_to_string("admin/knowledge/embeddingindex/state.html", {"index": index})

"""Who may do what in the administration: Django's permissions on every base, roles on some.

A user with Django's permission on a model has it on every base. Who has it not may still
hold a role on single bases through a group, if they are staff: a viewer sees all of a base,
a curator also changes what is in it. Making, changing and deleting bases themselves, and
giving roles, takes the permission.
"""

from typing import Any, Literal

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest

from knowledge.models import KnowledgeBase, Role

Right = Literal["view", "add", "change", "delete"]


def bases(user: Any, right: Right) -> QuerySet[KnowledgeBase]:
    """The bases in which `user` may see ("view"), bring in, edit or delete documents."""
    every = KnowledgeBase.objects.all()
    if not user.is_active or not user.is_staff:
        return every.none()
    if user.has_perm(f"knowledge.{right}_document"):
        return every
    if right == "view" and user.has_perm("knowledge.change_document"):
        return every
    return every.filter(pk__in=by_role(user, right))


def may(user: Any, right: Right, base: KnowledgeBase | int) -> bool:
    pk = base if isinstance(base, int) else base.pk
    return bases(user, right).filter(pk=pk).exists()


def by_role(user: Any, right: Right) -> set[int]:
    """Ids of the bases on which a role gives `right`; read once a user object, as Django does."""
    if not user.is_active or not user.is_staff:
        return set()
    if not hasattr(user, "_knowledge_roles"):
        roles = Role.objects.filter(group__user=user)
        user._knowledge_roles = list(roles.values_list("knowledge_base", "kind"))
    return {
        base for base, kind in user._knowledge_roles if right == "view" or kind == Role.Kind.CURATOR
    }


class OwnBases(admin.RelatedFieldListFilter):
    """A filter by base that names only those the user may see."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        return [(base.pk, str(base)) for base in model_admin.own_bases(request, "view")]


class ByBase(admin.ModelAdmin):
    """An admin page of rows that belong to a base: roles count beside Django's permissions.

    `base_path` leads from a row to its base's id. The list shows rows of bases the user
    may see; a row can be changed, added or deleted in bases the user may change. Actions
    refuse rows that the user may only see, unless they say `permissions=["view"]`.
    """

    base_path = "knowledge_base_id"

    def own_bases(self, request: HttpRequest, right: Right) -> QuerySet[KnowledgeBase]:
        """The bases whose rows of this page's model the user may see or work on."""
        if getattr(super(), f"has_{right}_permission")(request):
            return KnowledgeBase.objects.all()
        return KnowledgeBase.objects.filter(pk__in=by_role(request.user, right))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if super().has_view_permission(request):
            return rows
        return rows.filter(**{f"{self.base_path}__in": by_role(request.user, "view")})

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) or bool(by_role(request.user, "view"))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self._holds(request, "view", obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) or self._holds(request, "change", obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) or self._holds(request, "add", None)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) or self._holds(request, "delete", obj)

    def get_list_filter(self, request: HttpRequest) -> Any:
        return [
            (one, OwnBases) if one == "knowledge_base" else one
            for one in super().get_list_filter(request)
        ]

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """A form offers only bases the user may change."""
        if db_field.related_model is KnowledgeBase:
            kwargs["queryset"] = self.own_bases(request, "change")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:  # type: ignore[override]
        """Refuse an action on rows of a base where the user lacks the right it names."""
        chosen = queryset
        if request.POST.get("select_across", "0") == "0":
            chosen = queryset.filter(pk__in=request.POST.getlist("_selected_action"))
        for right in self._rights(request):
            own = self.own_bases(request, right)
            if chosen.exclude(**{f"{self.base_path}__in": own}).exists():
                raise PermissionDenied
        return super().response_action(request, queryset)

    def _rights(self, request: HttpRequest) -> list[Right]:
        """What the posted action wants; to change, if it does not say."""
        posted = request.POST.getlist("action")
        known: dict[str, Any] = self.get_actions(request)
        functions = [known[name][0] for name in posted if name in known]
        return [
            right
            for function in functions
            for right in getattr(function, "allowed_permissions", ["change"])
        ]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """A list that can be edited asks nobody about the single row."""
        if change and not self.has_change_permission(request, obj):
            raise PermissionDenied
        super().save_model(request, obj, form, change)

    def _holds(self, request: HttpRequest, right: Right, obj: Any) -> bool:
        held = by_role(request.user, right)
        if obj is None or not held:
            return bool(held)
        for step in self.base_path.split("__"):
            obj = getattr(obj, step)
        return obj in held

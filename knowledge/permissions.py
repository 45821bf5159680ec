"""Who may do what in the administration: Django's permissions on every base, roles on some.

A user with Django's permission on a model has it on every base. Who has it not may still
hold a role on single bases through a group: a viewer sees all of a base, a curator also
changes what is in it. Making and deleting bases, and giving roles, takes the permission.
"""

from typing import Any, Literal

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from knowledge.models import KnowledgeBase, Role

Right = Literal["view", "change"]
KINDS: dict[Right, list[str]] = {
    "view": [Role.Kind.VIEWER, Role.Kind.CURATOR],
    "change": [Role.Kind.CURATOR],
}


def bases(user: Any, right: Right) -> QuerySet[KnowledgeBase]:
    """The bases in which `user` may see ("view") or edit ("change") documents."""
    every = KnowledgeBase.objects.all()
    if not user.is_active or not user.is_staff:
        return every.none()
    if user.has_perm("knowledge.change_document"):
        return every
    if right == "view" and user.has_perm("knowledge.view_document"):
        return every
    held = Role.objects.filter(group__user=user, kind__in=KINDS[right])
    return every.filter(pk__in=held.values("knowledge_base"))


def may(user: Any, right: Right, base: KnowledgeBase | int) -> bool:
    pk = base if isinstance(base, int) else base.pk
    return bases(user, right).filter(pk=pk).exists()


class ByBase(admin.ModelAdmin):
    """An admin page of rows that belong to a base: roles count beside Django's permissions.

    `base_path` leads from a row to its base's id. The list shows rows of bases the user
    may see; a row can be changed, added or deleted in bases the user may change.
    """

    base_path = "knowledge_base_id"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if super().has_view_permission(request):
            return rows
        return rows.filter(**{f"{self.base_path}__in": bases(request.user, "view")})

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) or bases(request.user, "view").exists()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self._holds(request, "view", obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) or self._holds(request, "change", obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) or self._holds(request, "change", None)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) or self._holds(request, "change", obj)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """A form offers only bases the user may change."""
        if db_field.related_model is KnowledgeBase:
            kwargs["queryset"] = bases(request.user, "change")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def _holds(self, request: HttpRequest, right: Right, obj: Any) -> bool:
        held = bases(request.user, right)
        if obj is None:
            return held.exists()
        for step in self.base_path.split("__"):
            obj = getattr(obj, step)
        return held.filter(pk=obj).exists()

"""Admin pages of what belongs to no feature: API tokens, and the framework's own tables."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator, format_lazy
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST
from django_q.admin import FailAdmin, resubmit_task
from django_q.models import Failure

from opsdesk.models import ApiToken, Outage


def posted(pages: admin.ModelAdmin, views: Mapping[str, Callable[..., Any]]) -> list[URLPattern]:
    """URLs of what is done with a row, by POST alone: `<pk>/<name>/`, the view gets request and
    `pk`. Each is called `<app>_<model>_<name>`."""
    model = f"{pages.opts.app_label}_{pages.opts.model_name}"
    return [
        path(
            f"<int:pk>/{name.replace('_', '-')}/",
            pages.admin_site.admin_view(require_POST(view)),
            name=f"{model}_{name}",
        )
        for name, view in views.items()
    ]


def word_links() -> None:
    """Name the rows of many-to-many fields by their ends, as pages that confirm a deletion list
    them: Django says “Team_bases object (1)”, in the language of the settings."""
    for model in apps.get_models(include_auto_created=True):
        if model._meta.auto_created:
            names = [end.related_model._meta.verbose_name for end in _ends(model)]
            model._meta.verbose_name = format_lazy("{} – {}", *names)
            model._meta.verbose_name_plural = model._meta.verbose_name
            model.__str__ = _both  # type: ignore[method-assign]


def _ends(link: Any) -> list[Any]:
    return [field for field in link._meta.fields if field.is_relation]


def _both(link: Any) -> str:
    return " – ".join(str(getattr(link, end.name)) for end in _ends(link))


class FailureAdmin(FailAdmin):
    """What failed in the background, in the language of who looks: django-q has it in English."""

    list_display = ["task", "about", "began", "ended", "error"]
    list_filter = ()
    fields = ["task", "about", "given", "began", "ended", "attempts", "report"]
    actions = ["resubmit"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return self.fields

    @admin.action(description=_("Do the selected tasks again"), permissions=["delete"])
    def resubmit(self, request: HttpRequest, tasks: QuerySet[Failure]) -> None:
        resubmit_task(self, request, tasks)

    @admin.display(description=_("task"), ordering="func")
    def task(self, failure: Failure) -> str:
        return failure.func

    @admin.display(description=_("concerns"), ordering="group")
    def about(self, failure: Failure) -> str:
        return failure.group or "-"

    @admin.display(description=_("arguments"))
    def given(self, failure: Failure) -> str:
        values = [repr(value) for value in failure.args or ()]
        values += [f"{name}={value!r}" for name, value in (failure.kwargs or {}).items()]
        return ", ".join(values) or "-"

    @admin.display(description=_("began"), ordering="started")
    def began(self, failure: Failure) -> Any:
        return failure.started

    @admin.display(description=_("ended"), ordering="stopped")
    def ended(self, failure: Failure) -> Any:
        return failure.stopped

    @admin.display(description=_("attempts"))
    def attempts(self, failure: Failure) -> int:
        return failure.attempt_count

    @admin.display(description=_("error"))
    def error(self, failure: Failure) -> str:
        return Truncator(failure.result).chars(100)

    @admin.display(description=_("error"))
    def report(self, failure: Failure) -> SafeString:
        return format_html("<pre>{}</pre>", failure.result)


class ReadOnlyAdmin(admin.ModelAdmin):
    """Pages on which nothing is changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


DOES = {
    "add": _("Can add: %(model)s"),
    "change": _("Can change: %(model)s"),
    "delete": _("Can delete: %(model)s"),
    "view": _("Can view: %(model)s"),
}


def permitted(permission: Permission) -> str:
    """What a permission allows, in the language of who looks: its row says it in English."""
    app, model = permission.content_type.app_labeled_name, permission.content_type.model_class()
    action, _mark, named = permission.codename.partition("_")
    if model is not None and action in DOES and named == permission.content_type.model:
        return f"{app} | {DOES[action] % {'model': model._meta.verbose_name}}"
    return f"{app} | {gettext(permission.name)}"


def in_words(field: Any) -> Any:
    """A form field with its permissions as who looks can read them."""
    if field is not None and field.queryset.model is Permission:
        field.queryset = Permission.objects.select_related("content_type")
        field.label_from_instance = permitted
    return field


admin.site.unregister([User, Group])


@admin.register(User)
class PersonAdmin(UserAdmin):
    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        return in_words(super().formfield_for_manytomany(db_field, request, **kwargs))


@admin.register(Group)
class WordedGroupAdmin(GroupAdmin):
    def formfield_for_manytomany(self, db_field: Any, request: Any = None, **kwargs: Any) -> Any:
        return in_words(super().formfield_for_manytomany(db_field, request, **kwargs))


@admin.register(ApiToken)
class ApiTokenAdmin(admin.ModelAdmin):
    """Issue a token (it is shown once) and revoke it. Who is no superuser sees only their own."""

    list_display = ["name", "user", "scope", "prefix", "is_valid", "last_used_at", "expires_at"]
    list_filter = ["scope"]
    list_select_related = ["user"]
    search_fields = ["name", "user__username", "prefix"]
    autocomplete_fields = ["user"]
    actions = ["revoke"]

    @admin.display(description=_("valid"), boolean=True)
    def is_valid(self, token: ApiToken) -> bool:
        alive = token.expires_at is None or token.expires_at > timezone.now()
        return alive and token.user.is_active

    @admin.action(description=_("Revoke selected tokens"), permissions=["delete"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        count = ApiToken.objects.filter(pk__in=tokens).revoke()
        said = ngettext("%(count)d token revoked.", "%(count)d tokens revoked.", count)
        self.message_user(request, said % {"count": count}, messages.SUCCESS)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        tokens = super().get_queryset(request)
        return tokens if request.user.is_superuser else tokens.filter(user=request.user.pk)

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        fields = ["name", "scope", "expires_at"]
        return ["user", *fields] if request.user.is_superuser else fields

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> list[str]:
        return ["user"] if obj else []

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"user": request.user.pk, **super().get_changeform_initial_data(request)}

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # After saving a new one there is one thing to do: copy it.
        buttons = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().changeform_view(
            request, object_id, form_url, {**buttons, **(extra_context or {})}
        )

    @sensitive_variables()
    def save_model(
        self, request: HttpRequest, obj: ApiToken, form: "ModelForm[ApiToken]", change: bool
    ) -> None:
        if not change:
            if not request.user.is_superuser:
                obj.user = cast(User, request.user)
            obj.generate()
        super().save_model(request, obj, form, change)

    @sensitive_variables()
    def response_add(
        self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("API token issued"),
            "opts": self.opts,
            "token": obj,
            "raw": obj.raw,
        }
        # Not a message: those wait in a cookie or a session. Admin pages are never cached.
        return TemplateResponse(request, "admin/opsdesk/apitoken/issued.html", context)


@admin.register(Outage)
class OutageAdmin(ReadOnlyAdmin):
    """What failed and when."""

    list_display = ["label", "began_at", "seen_at", "ended_at", "reason"]
    list_filter = ["service", "began_at"]
    date_hierarchy = "began_at"

    @admin.display(description=_("service"), ordering="service")
    def label(self, outage: Outage) -> str:
        return outage.label

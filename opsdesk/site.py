"""The admin site: its name, and the start page with what waits."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypedDict

from django.apps import apps
from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _


class Row(TypedDict, total=False):
    label: str
    value: object
    url: str  # "" or missing: no link
    level: str  # "", "ok", "warning" or "error"


class Panel(TypedDict):
    title: str
    rows: list[Row]


# What an entry of `settings.START_PANELS` names; None: nothing this user may see.
MakePanel = Callable[[HttpRequest], Panel | None]


LISTED_LAST = {"opsdesk", "auth", "django_q"}


class LoginForm(AdminAuthenticationForm):
    # The same words whether the password was wrong or there were too many tries.
    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": _(
            "This name and password do not open a staff account."
            " After several failures sign-in is refused for a while."
        ),
    }


class OpsDeskAdminSite(AdminSite):
    site_title = site_header = _("OpsDesk")
    index_title = _("Start")
    login_form = LoginForm

    def get_app_list(
        self, request: HttpRequest, app_label: str | None = None
    ) -> list[dict[str, Any]]:
        """The apps in the order of the settings, those about accounts and machinery last."""
        order = [app.label for app in apps.get_app_configs()]
        return sorted(
            super().get_app_list(request, app_label),
            key=lambda app: (app["app_label"] in LISTED_LAST, order.index(app["app_label"])),
        )

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        return {**super().each_context(request), "doors": partial(doors, request)}

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        context = {"sections": sections(request), "panels": panels(request)}
        return super().index(request, {**context, **(extra_context or {})})


def doors(request: HttpRequest) -> list[tuple[str, str]]:
    """Titles and addresses of the pages outside of it that this user may enter."""
    makers = [import_string(name) for name in settings.DOORS]
    return [door for make in makers for door in make(request)]


def panels(request: HttpRequest) -> list[Panel]:
    """What waits, in the order of the settings."""
    makers: list[MakePanel] = [import_string(name) for name in settings.START_PANELS]
    return [panel for make in makers if (panel := make(request))]


def sections(request: HttpRequest) -> list[str]:
    """HTML above the panels, in the order of the settings."""
    makers: list[Callable[[HttpRequest], str]] = [
        import_string(name) for name in settings.START_SECTIONS
    ]
    return [html for make in makers if (html := make(request))]

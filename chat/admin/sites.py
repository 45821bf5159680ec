"""Sites that show the chat: what they put into their pages, and what they sign with."""

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from chat.models import WidgetSite


@admin.register(WidgetSite)
class WidgetSiteAdmin(admin.ModelAdmin):
    list_display = ["name", "origins", "knowledge_base", "enabled"]
    list_filter = ["enabled", "knowledge_base"]
    list_select_related = ["knowledge_base"]
    search_fields = ["name", "origins"]
    fields = ["name", "origins", "knowledge_base", "title", "enabled"]
    actions = ["renew"]

    @sensitive_variables()
    def save_model(
        self, request: HttpRequest, obj: WidgetSite, form: "ModelForm[WidgetSite]", change: bool
    ) -> None:
        raw = "" if change else obj.renew_secret()
        super().save_model(request, obj, form, change)
        request.widget_secret = raw  # type: ignore[attr-defined]  # for the page that follows

    @sensitive_variables()
    def response_add(
        self, request: HttpRequest, obj: WidgetSite, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._shown_once(request, obj, request.widget_secret)  # type: ignore[attr-defined]

    @admin.action(description=_("Give a new secret"), permissions=["change"])
    @sensitive_variables()
    def renew(self, request: HttpRequest, sites: QuerySet[WidgetSite]) -> HttpResponse | None:
        site = sites.first()
        if site is None or sites.count() > 1:
            self.message_user(request, _("Choose one site."), "error")
            return None
        raw = site.renew_secret()
        site.save(update_fields=["secret"])
        self.log_change(request, site, [{"changed": {"fields": ["secret"]}}])
        return self._shown_once(request, site, raw)

    def _shown_once(self, request: HttpRequest, site: WidgetSite, raw: str) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Site with the widget"),
            "site": site,
            "raw": raw,
        }
        return TemplateResponse(request, "admin/chat/site_secret.html", context)

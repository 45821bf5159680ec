from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.utils.translation import gettext_lazy as _


class OpsDeskConfig(AppConfig):
    name = "opsdesk"
    verbose_name = _("OpsDesk")

    def ready(self) -> None:
        from opsdesk import checks  # noqa: F401


class OpsDeskAdminConfig(AdminConfig):
    default_site = "opsdesk.admin.OpsDeskAdminSite"

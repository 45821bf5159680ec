from django.contrib.admin import AdminSite
from django.utils.translation import gettext_lazy as _


class OpsDeskAdminSite(AdminSite):
    site_title = site_header = _("OpsDesk")
    index_title = _("Start")
    enable_nav_sidebar = True

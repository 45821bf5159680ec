from chat.admin.conversations import EXCERPT, ReadOnlyAdmin, transcript_html
from chat.admin.sites import WidgetSiteAdmin

__all__ = ["EXCERPT", "ReadOnlyAdmin", "WidgetSiteAdmin", "transcript_html"]

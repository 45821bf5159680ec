from chat.admin.conversations import EXCERPT, transcript_html
from chat.admin.policies import EscalationPolicyAdmin
from chat.admin.sites import WidgetSiteAdmin
from chat.admin.tools import HttpToolAdmin, ToolCallAdmin
from chat.admin.topics import TopicAdmin

__all__ = [
    "EXCERPT",
    "EscalationPolicyAdmin",
    "HttpToolAdmin",
    "ToolCallAdmin",
    "TopicAdmin",
    "WidgetSiteAdmin",
    "transcript_html",
]

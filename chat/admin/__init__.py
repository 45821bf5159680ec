from chat.admin.configurations import ConfigurationAdmin
from chat.admin.conversations import EXCERPT
from chat.admin.policies import EscalationPolicyAdmin
from chat.admin.sites import WidgetSiteAdmin
from chat.admin.tools import HttpToolAdmin, ToolCallAdmin
from chat.admin.topics import TopicAdmin

__all__ = [
    "EXCERPT",
    "ConfigurationAdmin",
    "EscalationPolicyAdmin",
    "HttpToolAdmin",
    "ToolCallAdmin",
    "TopicAdmin",
    "WidgetSiteAdmin",
]

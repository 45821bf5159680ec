from chat.models.configurations import Configuration
from chat.models.conversations import (
    Citation,
    Conversation,
    Figure,
    Message,
    Rating,
    Turn,
)
from chat.models.kept import KeptAnswer
from chat.models.policies import EscalationPolicy
from chat.models.sites import WidgetSite
from chat.models.summaries import Summary
from chat.models.tools import HttpTool, ToolCall
from chat.models.topics import Collected, Topic
from chat.models.uploads import Upload

__all__ = [
    "Citation",
    "Collected",
    "Configuration",
    "Conversation",
    "EscalationPolicy",
    "Figure",
    "HttpTool",
    "KeptAnswer",
    "Message",
    "Rating",
    "Summary",
    "ToolCall",
    "Topic",
    "Turn",
    "Upload",
    "WidgetSite",
]

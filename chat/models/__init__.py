from chat.models.conversations import (
    Citation,
    Conversation,
    Figure,
    Message,
    Rating,
    Turn,
)

__all__ = ["Citation", "Conversation", "Figure", "Message", "Rating", "Turn"]

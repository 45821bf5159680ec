from chat.admin.conversations import EXCERPT, ReadOnlyAdmin, transcript_html

__all__ = ["EXCERPT", "ReadOnlyAdmin", "transcript_html"]

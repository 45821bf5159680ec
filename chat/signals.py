"""The one arrow from the chat to whoever brings a person."""

from django.dispatch import Signal

# Sent inside the transaction that needs it, with `conversation` (its row locked), `turn` (or
# None), `reason` (a value of handoff.models.Handoff.Reason) and `summary`. Exactly one receiver.
handoff_requested = Signal()

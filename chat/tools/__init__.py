"""What OpsDesk can do beside answering: `docs/tools.md`.

`takes` is clarify's question whether a message is for a tool, `act` what recall does before it
looks for passages, `offered` which tools whoever asks may use.
"""

from chat.tools.acting import act, offered, takes

__all__ = ["act", "offered", "takes"]

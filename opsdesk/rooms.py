"""Rooms that apps fill: registries of dotted names, part of the settings.

An app to the left offers room, one to the right fills it; nothing to the left names it.
"""

from django.utils.translation import gettext_lazy as _

# Where people go, told by `serve`: what it is called and the name of its URL.
ENTRANCES = [
    (_("Chat page"), "chat"),
    (_("Administration"), "admin:index"),
    (_("Console"), "console"),
    (_("API"), "api-docs"),
]
# What /readyz asks, each `() -> "ok"` or what is wrong.
READINESS = [
    "opsdesk.health.database",
    "opsdesk.health.migrations",
    "opsdesk.health.worker",
    "opsdesk.health.turns",
]
# What is looked after every few seconds beside the turns: each quick, `() -> object`, and run by
# several processes at once.
SWEEPS = ["chat.turns.sweep", "handoff.routing.sweep", "handoff.waiting.sweep"]
# On the page of a knowledge base: each `(request, base) -> opsdesk.site.Panel | None`.
BASE_PANELS = ["chat.panels.asked_of", "evaluation.admin.of_base"]
# On the page of a turn, for staff: each `(request, turn) -> HTML, "" for nothing`.
TURN_PANELS = ["evaluation.admin.judging", "evaluation.admin.keeping"]
# What staff said of answers: each `(base) -> Iterable[knowledge.calibrating.Label]`.
LABELS = ["evaluation.verdicts.labels"]
# What may keep a change from being published: `(opsdesk.gates.Change) -> Refusal | None`.
GATES = ["evaluation.gating.gate"]
# On the page of what a gate looked at: each `(request, kind, subject) -> HTML, "" for nothing`, of
# an `opsdesk.gates.Change`.
GATE_PANELS = ["evaluation.admin.replayed"]
# Which configuration a customer gets: `(conversation) -> chat.configurations.Variant | None`.
VARIANTS = ["evaluation.experiments.variant"]
# Revisions that answers to this user cite: each `(request) -> their ids, a subquery`.
CITED = ["chat.visitors.cited"]
# Whether someone waits for an answer, each `() -> bool`: reading documents gives way.
BUSY = ["chat.turns.waiting"]
# What `serve` does once, before the first administrator is made; each `() -> None`, idempotent.
FIRST_START: list[str] = ["knowledge.demo.load", "chat.topics.demo.load", "evaluation.groups.load"]
# What has to be done of that before a first start says it is ready, each `() -> bool`.
FIRST_READY = ["knowledge.demo.read"]
# What `manage.py doctor` asks; each `() -> Iterable[opsdesk.diagnosis.Finding]`.
DOCTOR = [
    "opsdesk.diagnosis.database",
    "opsdesk.diagnosis.migrations",
    "opsdesk.diagnosis.workers",
    "opsdesk.diagnosis.queues",
    "chat.panels.diagnose",
    "knowledge.diagnosis.drift",
    "knowledge.diagnosis.reranker",
    "opsdesk.diagnosis.model_server",
    "opsdesk.outages.diagnose",
    "opsdesk.diagnosis.disk",
]
# Pages outside the administration, in its header: each `(request) -> Iterable[(title, address)]`.
DOORS = ["handoff.panels.doors"]
# How things stand, above what waits on the start page: each `(request) -> HTML, "" for nothing`.
START_SECTIONS = ["evaluation.dashboard.section"]
# What waits, on the start page: each `(request) -> opsdesk.site.Panel | None`.
START_PANELS = [
    "opsdesk.outages.panel",
    "knowledge.panels.documents",
    "knowledge.panels.entries",
    "handoff.panels.waiting",
    "chat.panels.questions",
]

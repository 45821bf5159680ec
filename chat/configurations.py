"""Which settings and prompts answer a turn: those of a `Configuration`, else the environment's.

One is in use at a time, none at first. It gets there through `settings.GATES`, and whatever was in
use before comes back with one click. `settings.VARIANTS` may give some visitors another one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat import prompting
from chat.models import Configuration, Conversation
from opsdesk import gates
from opsdesk.gates import Change, Refusal

State = Configuration.State
PROMPT = prompting.PREFIX
LONGEST_PROMPT = 20_000  # characters


@dataclass(frozen=True)
class Tunable:
    """A setting that a configuration may give another value."""

    label: str | Promise
    field: Callable[..., forms.Field]
    help: str | Promise = ""


def _number(low: float, high: float) -> Callable[..., forms.Field]:
    return lambda **more: forms.FloatField(min_value=low, max_value=high, **more)


def _count(low: int, high: int) -> Callable[..., forms.Field]:
    return lambda **more: forms.IntegerField(min_value=low, max_value=high, **more)


def _switch(**more: Any) -> forms.Field:
    choices = [("", "–"), (True, gettext_lazy("on")), (False, gettext_lazy("off"))]
    return forms.TypedChoiceField(
        choices=choices, coerce=lambda value: value in (True, "True"), empty_value=None, **more
    )


# The limits are those of the settings (opsdesk/settings.py).
TUNABLE = {
    "LLM": Tunable(
        gettext_lazy("Language model"),
        _switch,
        gettext_lazy("Off: passages are shown as they are."),
    ),
    "OPENAI_MODEL": Tunable(
        gettext_lazy("Model"),
        lambda **more: forms.CharField(max_length=200, **more),
        gettext_lazy("Its name on the model server that is set up."),
    ),
    "OPENAI_TEMPERATURE": Tunable(gettext_lazy("Temperature"), _number(0, 2)),
    "UNDERSTAND_SECONDS": Tunable(
        gettext_lazy("Seconds for reading a message"),
        _number(0, 60),
        gettext_lazy("0: the model reads no message before it is looked for."),
    ),
    "JUDGE": Tunable(gettext_lazy("Second look of the model at its answers"), _switch),
    "CONFIDENCE": Tunable(
        gettext_lazy("Confidence below which a person is called"),
        _number(0, 1),
        gettext_lazy("That the knowledge base holds the answer."),
    ),
    "ANSWER_CONFIDENCE": Tunable(
        gettext_lazy("Confidence below which it offers a choice"),
        _number(0, 1),
        gettext_lazy(
            "That what would be shown is right. Where a knowledge base is not calibrated; one that "
            "is has its own."
        ),
    ),
    "PASSAGES": Tunable(gettext_lazy("Passages given to an answer"), _count(1, 20)),
    "PASSAGE_CHARACTERS": Tunable(
        gettext_lazy("Characters of these together"), _count(500, 40_000)
    ),
    "RERANK": Tunable(
        gettext_lazy("Reranker"), _switch, gettext_lazy("Counts where one is set up.")
    ),
}
# Prompts that a turn uses, and what each has to name: the answer is read by it.
PROMPTS = {
    "answer.system": ("answerable", "sentences", "text", "cites"),
    "answer.marked": ("NO_ANSWER",),
    "answer.user": (),
    "judge.system": ("unsupported",),
    "judge.user": (),
    "understand.system": ("intent", "mood", "question", "values"),
    "tool.system": ("tool", "arguments", "none"),
    "structured": (),
}
PROMPT_LABELS = {
    "answer.system": gettext_lazy("How an answer is written"),
    "answer.marked": gettext_lazy("How an answer is written where the server takes no schema"),
    "answer.user": gettext_lazy("What an answer is written from"),
    "judge.system": gettext_lazy("How the second look checks an answer"),
    "judge.user": gettext_lazy("What the second look sees"),
    "understand.system": gettext_lazy("How a message is read"),
    "tool.system": gettext_lazy("How a tool is chosen"),
    "structured": gettext_lazy("How the form of an answer is asked for"),
}


# --- what is valid ----------------------------------------------------------------------


def cleaned(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Those that say anything, in their types. Raises ValidationError with a sentence for each
    that cannot be, by its name."""
    made: dict[str, Any] = {}
    wrong: dict[str, Any] = {}
    for name, value in overrides.items():
        try:
            if name in TUNABLE:
                value = TUNABLE[name].field(required=False).clean(value)
            elif name.startswith(PROMPT) and name.removeprefix(PROMPT) in PROMPTS:
                value = _prompt(name.removeprefix(PROMPT), str(value or ""))
            else:
                raise ValidationError(_("“%(name)s” is no setting.") % {"name": name})
        except ValidationError as error:
            wrong[name] = error
        else:
            if value not in (None, ""):
                made[name] = value
    if wrong:
        raise ValidationError(wrong)
    return made


def _prompt(name: str, text: str) -> str:
    """ "" where it says what the file says."""
    text = text.replace("\r\n", "\n").replace("\x00", "")
    shipped = prompting.shipped(name)
    if not text.strip() or text.strip() == shipped.template.strip():
        return ""
    if len(text) > LONGEST_PROMPT:
        raise ValidationError(_("A prompt has at most %(n)d characters.") % {"n": LONGEST_PROMPT})
    if missing := [word for word in PROMPTS[name] if word not in text]:
        said = _("The prompt has to name %(words)s: the model's answer is read by that.")
        raise ValidationError(said % {"words": _listed(missing)})
    wanted = shipped.get_identifiers()
    if wanted:  # of the others nothing is filled in
        template = Template(text)
        if not template.is_valid():
            raise ValidationError(_("A “$” that stands for nothing is written “$$”."))
        there = template.get_identifiers()
        if missing := [f"${one}" for one in wanted if one not in there]:
            said = _("The prompt lacks %(places)s: there the material is filled in.")
            raise ValidationError(said % {"places": _listed(missing)})
        if unknown := [f"${one}" for one in there if one not in wanted]:
            said = _("Nothing is filled in for %(places)s.")
            raise ValidationError(said % {"places": _listed(unknown)})
    return text


def _listed(words: list[str]) -> str:
    return "、".join(words)


def environment(name: str) -> Any:
    """What holds without a configuration."""
    if name.startswith(PROMPT):
        return prompting.shipped(name.removeprefix(PROMPT)).template
    if name == "LLM":
        return settings.BACKENDS.get("llm") is not None
    if name == "RERANK":
        return settings.BACKENDS.get("reranker") is not None
    return getattr(settings, name)


def label(name: str) -> str:
    if name.startswith(PROMPT):
        return _("Prompt %(name)s") % {"name": name.removeprefix(PROMPT)}
    return str(TUNABLE[name].label) if name in TUNABLE else name


# --- which holds ------------------------------------------------------------------------


def active() -> Configuration | None:
    return Configuration.objects.filter(state=State.ACTIVE).first()


def overrides() -> dict[str, Any]:
    """What holds for everybody now."""
    used = active()
    return used.overrides if used else {}


def of(
    conversation: Conversation, in_force: Sequence[Configuration] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What holds for the turns of `conversation`, and what its trace says of that ({} where the
    environment's settings hold). `in_force`: those that are, where they are known."""
    rows = list(Configuration.objects.in_force()) if in_force is None else in_force
    used = next((row for row in rows if row.state == State.ACTIVE), None)
    told: dict[str, Any] = {}
    if any(row.on_trial for row in rows):
        for name in settings.VARIANTS:
            if variant := import_string(name)(conversation):
                used = next((row for row in rows if row.pk == variant.configuration), used)
                told = {"experiment": variant.experiment, "arm": variant.arm}
                break
    if used:
        told |= {"id": used.pk, "name": str(used), "digest": used.digest}
    return (used.overrides if used else {}), told


@dataclass(frozen=True)
class Variant:
    """What a function of `settings.VARIANTS` gives for a conversation."""

    experiment: int
    arm: str  # "a": as for everybody, "b": the candidate
    configuration: int | None  # None: the one in use


# --- putting to use ---------------------------------------------------------------------


def activate(
    configuration: Configuration, user: Any, overrule: str = "", freely: bool = False
) -> Refusal | None:
    """Put it to use, unless a gate refuses. `overrule`: why it is used in spite of that;
    `freely`: without asking, which only going back may."""
    freely = freely and configuration.state == State.EARLIER
    if not (overrule or freely):
        by = user.pk if user else None
        overrides = configuration.overrides
        change = Change("configuration", configuration.pk, by=by, overrides=overrides)
        if refusal := gates.ask(change):
            _checking(configuration, refusal.waiting)
            return refusal
    use(configuration, user, overrule)
    return None


def _checking(configuration: Configuration, waiting: bool) -> None:
    before, after = State.DRAFT, State.CHECKING
    if not waiting:
        before, after = after, before
    changed = Configuration.objects.filter(pk=configuration.pk, state=before).update(state=after)
    configuration.state = after if changed else configuration.state


def withdraw(pk: int) -> None:
    """Have one that is being replayed be a draft again."""
    Configuration.objects.filter(pk=pk, state=State.CHECKING).update(state=State.DRAFT)


@transaction.atomic
def use(configuration: Configuration, user: Any, overrule: str = "") -> None:
    """Put to use what the gates let pass: `activate` asks them."""
    _end()
    configuration.state, configuration.used_at = State.ACTIVE, timezone.now()
    configuration.used_by, configuration.overruled = user, overrule[:300]
    configuration.save(update_fields=["state", "used_at", "used_by", "overruled"])


def _end() -> None:
    list(Configuration.objects.select_for_update().order_by("pk"))  # one choice after the other
    Configuration.objects.filter(state=State.ACTIVE).update(state=State.EARLIER)


@transaction.atomic
def end() -> None:
    """Answer as the environment says; the gates are not asked, since this is going back."""
    _end()


@transaction.atomic
def another(configuration: Configuration, user: Any) -> Configuration:
    """A draft that begins as `configuration` is, its next version."""
    versions = Configuration.objects.filter(name=configuration.name)
    list(versions.select_for_update().order_by("pk"))  # one after the other, each sees the latest
    latest = versions.aggregate(version=Max("version"))["version"] or 0
    return Configuration.objects.create(
        name=configuration.name,
        version=latest + 1,
        note=configuration.note,
        overrides=configuration.overrides,
        by=user,
    )


# --- comparing --------------------------------------------------------------------------


def differences(configuration: Configuration) -> list[tuple[str, Any, Any]]:
    """Names with what holds now and what would, where the two differ."""
    now = overrides()
    return [
        (name, before, after)
        for name in [*TUNABLE, *(f"{PROMPT}{one}" for one in PROMPTS)]
        if (before := now.get(name, environment(name)))
        != (after := configuration.overrides.get(name, environment(name)))
    ]

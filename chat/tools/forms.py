"""An HTTP tool as staff fill it in: everything a form can find wrong before a customer does."""

import json
import re
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import HttpTool
from chat.tools import registry
from chat.tools.http import PLACE, USER, headers_of
from chat.topics.schema import CHOICE, CHOICES, NUMBER, PATTERN, TEXT, Field, fields, problems
from opsdesk.sealing import seal

ARGUMENTS = 8
LITERAL = 2  # characters of an example that stand in every message it fits
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Of the connection, not of what is asked.
_NOT_OURS = {
    "host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer",
    "expect", "accept-encoding", "proxy-authorization", "keep-alive",
}  # fmt: skip


class ArgumentForm(forms.Form):
    """One thing that a tool has to know."""

    name = forms.RegexField(
        r"^[a-z][a-z0-9_]{0,29}\Z",
        label=gettext_lazy("name in braces"),
        error_messages={"invalid": gettext_lazy("Use a–z, 0–9 and _.")},
    )
    label = forms.CharField(label=gettext_lazy("as customers call it"), max_length=50)
    ask = forms.CharField(label=gettext_lazy("question to ask"), max_length=300, required=False)
    kind = forms.ChoiceField(
        label=gettext_lazy("kind"),
        choices=[
            (TEXT, gettext_lazy("text")),
            (PATTERN, gettext_lazy("by a pattern")),
            (CHOICE, gettext_lazy("one of several")),
            (NUMBER, gettext_lazy("number")),
        ],
        initial=TEXT,
    )
    detail = forms.CharField(
        label=gettext_lazy("pattern, or the choices"),
        max_length=2000,
        required=False,
        help_text=gettext_lazy("A pattern such as [A-Z]{2}\\d{6}; choices with commas between."),
    )
    example = forms.CharField(label=gettext_lazy("example"), max_length=200, required=False)
    needed = forms.BooleanField(
        label=gettext_lazy("asked for when missing"), required=False, initial=True
    )

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name == USER:
            raise ValidationError(_("{user} is who asks, as they are known. Choose another name."))
        return name

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if values.get("kind") in (PATTERN, CHOICE) and not values.get("detail"):
            self.add_error("detail", self.fields["detail"].error_messages["required"])
        return values

    def property(self) -> dict[str, Any]:
        """As a property of a JSON Schema."""
        values = self.cleaned_data
        made: dict[str, Any] = {"type": "string", "title": values["label"]}
        if values["ask"]:
            made["x-ask"] = values["ask"]
        if values["kind"] == NUMBER:
            made["type"] = "number"
        elif values["kind"] == PATTERN:
            made["pattern"] = values["detail"]
        elif values["kind"] == CHOICE:
            made["enum"] = choices(values["detail"])
        if values["example"]:
            made["examples"] = [values["example"]]
        return made


def choices(text: str) -> list[str]:
    parts = (part.strip() for part in re.split(r"[,，、;；\n]", text))
    return list(dict.fromkeys(filter(None, parts)))[:CHOICES]


class _Arguments(forms.BaseFormSet):
    def clean(self) -> None:
        super().clean()
        if any(self.errors):
            return
        names = [form.cleaned_data["name"] for form in self.told()]
        if len(set(names)) < len(names):
            raise ValidationError(_("Two arguments have the same name."))
        schema = self.schema()
        if schema["properties"] and (wrong := problems(schema)):
            raise ValidationError(wrong)

    def told(self) -> list[ArgumentForm]:
        """Those that are filled in and not to be deleted."""
        gone = self.deleted_forms
        return [one for one in self.forms if one.cleaned_data.get("name") and one not in gone]

    def schema(self) -> dict[str, Any]:
        told = self.told()
        return {
            "type": "object",
            "properties": {one.cleaned_data["name"]: one.property() for one in told},
            "required": [o.cleaned_data["name"] for o in told if o.cleaned_data["needed"]],
            "additionalProperties": False,
        }


ArgumentFormSet = forms.formset_factory(
    ArgumentForm,
    formset=_Arguments,
    extra=2,
    can_delete=True,
    can_delete_extra=False,
    max_num=ARGUMENTS,
    validate_max=True,
)


def initial(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the arguments' table."""
    return [
        {
            "name": one.name,
            "label": one.label,
            "ask": schema["properties"][one.name].get("x-ask", ""),
            "kind": one.kind,
            "detail": one.pattern or ", ".join(one.choices),
            "example": ", ".join(one.examples),
            "needed": one.required,
        }
        for one in fields(schema)
    ]


class HttpToolForm(forms.ModelForm):
    """All of a tool but its arguments, which `arguments` holds, a formset that is valid."""

    secrets = forms.CharField(
        label=gettext_lazy("secret headers"),
        widget=forms.Textarea(attrs={"rows": 2, "autocomplete": "off", "spellcheck": "false"}),
        max_length=4000,
        required=False,
        help_text=gettext_lazy("Such as “Authorization: Bearer …”. Kept sealed, shown to nobody."),
    )

    class Meta:
        model = HttpTool
        fields = [
            "title", "name", "description", "enabled", "triggers", "method", "url", "headers",
            "body", "timeout", "repeatable", "answer", "nothing", "sensitive", "users",
            "sites", "groups", "bases",
        ]  # fmt: skip
        widgets = {
            "description": forms.Textarea(attrs={"rows": 2}),
            "triggers": forms.Textarea(attrs={"rows": 3}),
            "url": forms.TextInput(attrs={"class": "vLargeTextField", "spellcheck": "false"}),
            "nothing": forms.TextInput(attrs={"class": "vLargeTextField"}),
            "sites": forms.CheckboxSelectMultiple,
            "groups": forms.CheckboxSelectMultiple,
            "bases": forms.CheckboxSelectMultiple,
            "headers": forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
            "body": forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
            "answer": forms.Textarea(attrs={"rows": 4}),
        }

    arguments: _Arguments

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.was_at = urlsplit(self.instance.url).netloc
        self.was_secret = bool(self.instance.secret)
        if self.was_secret:
            self.fields["secrets"].widget.attrs["placeholder"] = _("unchanged")

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name in registry.names():
            raise ValidationError(_("There is a tool of this name already."))
        return name

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"].strip()
        try:
            parts = urlsplit(url)
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValidationError(_("An address begins with http:// or https:// and a host."))
        if PLACE.search(parts.netloc) or "{" in parts.netloc:
            raise ValidationError(_("The host of an address is not filled in."))
        if parts.username or parts.password:
            raise ValidationError(_("Put names and passwords into the secret headers."))
        return url.partition("#")[0]

    def clean_headers(self) -> str:
        return _headers(self.cleaned_data["headers"])

    def clean_secrets(self) -> str:
        return _headers(self.cleaned_data["secrets"])

    def clean_body(self) -> str:
        body: str = self.cleaned_data["body"].strip()
        if body:
            try:
                json.loads(body)
            except (ValueError, RecursionError) as error:
                raise ValidationError(
                    _('This is not JSON: %(error)s. Places stand inside texts: "{order}".')
                    % {"error": error}
                ) from error
        return body

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if values.get("method") == HttpTool.Method.GET and values.get("body"):
            self.add_error("body", _("GET has no body."))
        if not self.arguments.is_valid():
            raise ValidationError(_("Something is wrong with what it has to know."))
        self._check_places(values, {form.cleaned_data["name"] for form in self.arguments.told()})
        return values

    def _check_places(self, values: dict[str, Any], told: set[str]) -> None:
        for name, allowed in (("url", {USER}), ("body", {USER}), ("triggers", set())):
            unknown = set(PLACE.findall(values.get(name) or "")) - told - allowed
            for place in sorted(unknown):
                self.add_error(name, _("There is no argument {%(name)s}.") % {"name": place})
        for line in (values.get("triggers") or "").splitlines():
            if line.strip() and len(re.sub(r"\s", "", PLACE.sub("", line))) < LITERAL:
                self.add_error("triggers", _("“%(line)s” fits any message.") % {"line": line})

    def save(self, commit: bool = True) -> HttpTool:
        row = self.instance
        row.schema = self.arguments.schema()
        if self.cleaned_data["secrets"]:
            row.secret = seal(self.cleaned_data["secrets"])
        elif urlsplit(row.url).netloc != self.was_at:
            row.secret = ""  # meant for another host
        saved: HttpTool = super().save(commit)
        return saved


def _headers(text: str) -> str:
    for line in filter(str.strip, text.splitlines()):
        name, colon, value = (part.strip() for part in line.partition(":"))
        written = value.isascii() and value.isprintable()
        if not colon or not _HEADER.fullmatch(name) or not written:
            raise ValidationError(
                _("“%(line)s” is no header: write “Name: value”.") % {"line": line[:80]}
            )
        if name.lower() in _NOT_OURS:
            raise ValidationError(_("%(name)s cannot be set here.") % {"name": name})
    return "\n".join(f"{name}: {value}" for name, value in headers_of(text).items())


class TrialForm(forms.Form):
    """The arguments of a tool, to be tried out."""

    def __init__(self, schema: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for one in fields(schema):
            made = self.fields[one.name] = _trial_field(one)
            made.label, made.required = one.label, one.required


def _trial_field(one: Field) -> forms.Field:
    if one.kind == CHOICE:
        offered = [] if one.required else [("", "—")]
        return forms.ChoiceField(choices=[*offered, *((name, name) for name in one.choices)])
    if one.kind == NUMBER:
        return forms.CharField(max_length=30, widget=forms.NumberInput({"step": "any"}))
    hint = {"placeholder": ", ".join(one.examples)}
    return forms.CharField(max_length=200, widget=forms.TextInput(hint))

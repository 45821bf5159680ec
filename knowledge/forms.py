"""The forms of the upload page and of labelling many documents."""

import re
import secrets
from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin
from django.contrib.postgres.forms import SimpleArrayField
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.forms import BoundField
from django.utils.text import Truncator, slugify
from django.utils.translation import gettext_lazy as _

from knowledge import permissions, uploading
from knowledge.models import Document, KnowledgeBase


def quoted(text: str) -> str:
    """The beginning of what somebody typed, for a sentence about it."""
    return Truncator(text).chars(40)


class LinesField(forms.CharField):
    """A list, one a line."""

    widget = forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        lines = (super().to_python(value) or "").splitlines()
        return [line for line in lines if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(initial or []) != self.to_python(data)


class FilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Several files; what is wrong with one is said of that one, when it is added."""

    widget = FilesInput(attrs={"multiple": True})

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:  # type: ignore[override]
        files = [file for file in data or [] if file]
        if self.required and not files:
            raise forms.ValidationError(self.error_messages["required"], code="required")
        return files


class SheetForm(forms.Form):
    """A sheet for one of the `bases`; `columns` says what is read of it."""

    knowledge_base = forms.ModelChoiceField(KnowledgeBase.objects.none(), label=_("Knowledge base"))
    file = forms.FileField(label=_("File"))

    def __init__(
        self, *args: Any, bases: QuerySet[KnowledgeBase], columns: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fields["knowledge_base"].queryset = bases  # type: ignore[attr-defined]
        self.fields["file"].help_text = columns


class UploadForm(forms.Form):
    knowledge_base = forms.ModelChoiceField(
        KnowledgeBase.objects.none(), label=_("Knowledge base"), required=False
    )
    new_base = forms.CharField(
        label=_("or a new one, called"),
        help_text=_("Who is signed in is answered from it; its page opens it to every visitor."),
        max_length=200,
        required=False,
        strip=True,
    )
    files = FilesField(  # type: ignore[assignment]  # of the form, not the request's
        label=_("Files"),
        help_text=_(
            "PDF, Word, PowerPoint, Excel, CSV, HTML, RTF, OpenDocument, EPUB, e-mail (EML, "
            "MSG), Markdown, text, pictures. A zip file is unpacked: each file in it becomes a "
            "document."
        ),
    )
    password = forms.CharField(
        label=_("Password of the files"),
        help_text=_("Only where the files or the zip file have one."),
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        max_length=255,
        required=False,
        strip=False,
    )

    def __init__(
        self, *args: Any, user: AbstractBaseUser | AnonymousUser | PermissionsMixin, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.offered = permissions.bases(user, "add")
        self.fields["knowledge_base"].queryset = self.offered  # type: ignore[attr-defined]
        if not getattr(user, "has_perm", lambda _: False)("knowledge.add_knowledgebase"):
            del self.fields["new_base"]
            if self.offered.count() == 1:  # there is nothing to choose
                self.initial["knowledge_base"] = self.offered.get()

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if bool(data.get("knowledge_base")) == bool(data.get("new_base")):
            self.add_error(
                "knowledge_base", _("Choose a knowledge base, or give a new one a name.")
            )
        return data

    def base(self) -> KnowledgeBase:
        """The chosen base, or the one of the new name, made when there is none."""
        chosen: KnowledgeBase | None = self.cleaned_data["knowledge_base"]
        if chosen:
            return chosen
        name = self.cleaned_data["new_base"]
        known = self.offered.filter(name=name).first()
        # A Chinese name leaves nothing of a slug.
        return known or KnowledgeBase.objects.create(
            name=name, slug=f"{slugify(name) or 'base'}-{secrets.token_hex(3)}"[-50:]
        )


class TagsField(SimpleArrayField):
    """Tags between commas, as a Chinese keyboard types them too."""

    default_error_messages = {"item_invalid": _("Tag %(nth)s:")}

    def __init__(self, base_field: forms.Field | None = None, **kwargs: Any):
        super().__init__(base_field or forms.CharField(max_length=50), **kwargs)

    def to_python(self, value: Any) -> Any:
        return super().to_python(
            re.sub("[，、；;]", ",", value) if isinstance(value, str) else value
        )


class LabelForm(forms.Form):
    """What many documents hold for: what is ticked is set, to nothing too."""

    FACTS = ("product", "version", "environment", "expires_on")

    set_product = forms.BooleanField(required=False)
    product = forms.CharField(label=_("Product"), max_length=100, required=False)
    set_version = forms.BooleanField(required=False)
    version = forms.CharField(label=_("Product version"), max_length=100, required=False)
    set_environment = forms.BooleanField(required=False)
    environment = forms.CharField(label=_("Environment"), max_length=100, required=False)
    set_expires_on = forms.BooleanField(required=False)
    expires_on = forms.DateField(
        label=_("Expires on"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text=_("From this day on they answer no more."),
    )
    add_tags = TagsField(label=_("Add tags"), required=False, help_text=_("Separated by commas."))
    remove_tags = TagsField(label=_("Remove tags"), required=False)

    def rows(self) -> Iterator[tuple[BoundField, BoundField]]:
        """A box to tick, and the field that counts when it is."""
        return ((self[f"set_{name}"], self[name]) for name in self.FACTS)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        ticked = [name for name in self.FACTS if data.get(f"set_{name}")]
        if not (ticked or data.get("add_tags") or data.get("remove_tags") or self.errors):
            raise forms.ValidationError(_("Tick what shall be set, or name tags."))
        return data

    def apply(self, documents: QuerySet[Document]) -> int:
        """Set it; how many documents."""
        data = self.cleaned_data
        facts = {name: data[name] for name in self.FACTS if data[f"set_{name}"]}
        set_ = uploading.describe(documents, **facts)
        tagged = uploading.tag(documents, data["add_tags"] or [], data["remove_tags"] or [])
        return max(set_, tagged)

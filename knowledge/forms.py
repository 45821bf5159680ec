"""The upload page's form."""

import secrets
from typing import Any

from django import forms
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin
from django.core.files.uploadedfile import UploadedFile
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _

from knowledge import permissions
from knowledge.models import KnowledgeBase


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


class UploadForm(forms.Form):
    knowledge_base = forms.ModelChoiceField(
        KnowledgeBase.objects.none(), label=_("Knowledge base"), required=False
    )
    new_base = forms.CharField(
        label=_("or a new one, called"), max_length=200, required=False, strip=True
    )
    files = FilesField(  # type: ignore[assignment]  # of the form, not the request's
        label=_("Files"),
        help_text=_(
            "PDF, Word, PowerPoint, Excel, CSV, HTML, RTF, OpenDocument, EPUB, e-mail (EML, "
            "MSG), Markdown, text, pictures. A zip file is unpacked: each file in it becomes a document."
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

"""The one interface of all kinds of sources."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from knowledge.models import Source, SourceItem
from opsdesk.sealing import seal, unseal


@dataclass(frozen=True)
class Found:
    """A page or file that is there. `version` changes with its content, where that is known."""

    key: str  # its address or path: what makes it the same the next time
    version: str = ""
    data: dict[str, Any] = field(default_factory=dict)  # for `fetch`
    ready: bool = True  # else it is there, but not to be fetched yet


@dataclass
class Content:
    """A file as it was fetched. `etag` and `modified` are given back the next time.

    Without a file there is nothing but what it leads to.
    """

    file: IO[bytes] | None
    name: str = ""
    title: str = ""
    url: str = ""  # where readers find it
    etag: str = ""
    modified: str = ""
    links: list[Found] = field(default_factory=list)  # what it leads to, of this source

    @classmethod
    def text(cls, text: str, **values: Any) -> "Content":
        return cls(file=BytesIO(text.encode()), **values)


class AddressField(forms.CharField):
    """The address of a server, which need not have a dot in its name."""

    def clean(self, value: Any) -> str:
        address: str = super().clean(value)
        if address and "://" not in address:
            address = f"https://{address}"
        try:
            parts = urlsplit(address)
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if address and not usable:
            raise ValidationError(_("%(address)s is not an address.") % {"address": address[:200]})
        return address


class Options(forms.Form):
    """The options of a kind, as the form in which they are asked for."""

    source: Source  # whose they are, set before it is validated


class Backend:
    """Base class of a kind of source: it says what there is, and fetches it.

    `items` raises FetchError when it cannot say; then nothing counts as vanished. `fetch`
    gives None for what has not changed. Both are called inside `with backend.opened()`.
    """

    do_not_call_in_templates = True  # Django's, of classes
    label: str | Promise
    about: str | Promise = ""  # what it is for, in a sentence
    options_form: type[Options] = Options
    secrets: tuple[str, ...] = ()  # of the options, those kept sealed
    account: tuple[str, ...] = ()  # and those that say whose tokens are kept beside them
    default_every = 1440  # minutes
    # How many complete listings in a row must lack an item until its document is retired.
    patience = 2
    connectable = False  # a person signs in: `authorize_url`, `connect`
    watched = False  # looked after by `manage.py watch`, not by the clock
    crawls = False  # what there is shows only while items are fetched
    max_items = 20_000
    again = 0.0  # seconds after which to look once more: something was not ready yet
    incomplete = ""  # why `items` could not tell all, in a sentence

    def __init__(self, source: Source) -> None:
        self.source = source
        self.options: dict[str, Any] = source.options

    def opened(self, *, hurried: bool = False) -> AbstractContextManager[Any]:
        """What is held while items are listed and fetched; `hurried`: a person waits for it."""
        return nullcontext()

    def items(self) -> Iterator[Found]:
        raise NotImplementedError

    def fetch(self, item: SourceItem) -> Content | None:
        raise NotImplementedError

    def secret(self, name: str) -> Any:
        return (unseal(self.source.secret) or {}).get(name)

    def keep_secrets(self, **values: Any) -> None:
        """Write secrets down at once: a token that was exchanged is no use in memory alone."""
        kept = unseal(self.source.secret) or {}
        self.source.secret = seal({**kept, **values})
        if self.source.pk:
            self.source.save(update_fields=["secret"])

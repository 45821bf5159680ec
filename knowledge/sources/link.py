"""Files behind addresses: CSV, XLSX, PDF …, also the export links of online sheets."""

from collections.abc import Iterator

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from knowledge.models import SourceItem
from knowledge.sources.base import AddressField, Content, Found, Options
from knowledge.sources.web import Web, is_html, normal
from opsdesk.errors import FetchError

ADDRESSES = 200


class LinkOptions(Options):
    addresses = forms.CharField(
        label=gettext_lazy("addresses"),
        widget=forms.Textarea(attrs={"rows": 4, "cols": 80}),
        help_text=gettext_lazy(
            "Of files, one a line: CSV, XLSX, PDF, Word … A sheet that is shared by link has an "
            "address that exports it."
        ),
    )

    def clean_addresses(self) -> str:
        field = AddressField()
        addresses = [normal(field.clean(line)) for line in self.cleaned_data["addresses"].split()]
        if len(addresses) > ADDRESSES:
            raise ValidationError(_("At most %(n)d.") % {"n": ADDRESSES})
        return "\n".join(dict.fromkeys(addresses))


class Link(Web):
    """Each address is one file. Somebody named each of them: robots.txt is for those who roam."""

    label = gettext_lazy("files by link")
    about = gettext_lazy("CSV, XLSX, PDF, Word … behind addresses, also shared online sheets.")
    options_form = LinkOptions
    robots = False

    def items(self) -> Iterator[Found]:
        for address in self.options["addresses"].split():
            yield Found(address)

    def fetch(self, item: SourceItem) -> Content | None:
        fetched = self.get(item.key, item)
        if fetched.file is None:
            return None
        if is_html(fetched, fetched.file) and not item.key.lower().endswith((".html", ".htm")):
            fetched.file.close()
            raise FetchError(
                _("Instead of a file came a web page, most likely to sign in."), permanent=True
            )
        return self.content(fetched, fetched.file)

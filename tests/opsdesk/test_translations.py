import json
import re
from pathlib import Path

import django
import polib
import pytest
from django.conf import settings
from django.urls import reverse

FOLDER = Path(settings.BASE_DIR) / "locale" / "zh_Hans" / "LC_MESSAGES"
PLACEHOLDER = re.compile(r"%\((\w+)\)|(?<!%)%[sdrf]|(?<!\{)\{(\w*)\}")


@pytest.fixture(scope="module")
def catalogue():
    return polib.pofile(str(FOLDER / "django.po"))


def placeholders(text):
    return sorted(match.group() for match in PLACEHOLDER.finditer(text))


def test_everything_is_translated(catalogue):
    assert [entry.msgid for entry in catalogue.untranslated_entries()] == []


def test_nothing_is_a_guess_or_left_over(catalogue):
    assert [entry.msgid for entry in catalogue.fuzzy_entries()] == []
    assert [entry.msgid for entry in catalogue.obsolete_entries()] == []


def test_placeholders_are_kept(catalogue):
    broken = []
    for entry in catalogue:
        source = entry.msgid_plural or entry.msgid
        for text in [entry.msgstr] if entry.msgstr else entry.msgstr_plural.values():
            if text and placeholders(text) != placeholders(source):
                broken.append((source, text))
    assert broken == []


def test_placeholders_are_named(catalogue):
    """A translation may need another order."""
    assert [entry.msgid for entry in catalogue if len(re.findall(r"%[sd]", entry.msgid)) > 1] == []


def test_what_is_compiled_is_what_is_written(catalogue):
    compiled = {
        (entry.msgctxt, entry.msgid): (entry.msgstr, entry.msgstr_plural)
        for entry in polib.mofile(str(FOLDER / "django.mo"))
    }
    written = {
        (entry.msgctxt, entry.msgid): (entry.msgstr, entry.msgstr_plural)
        for entry in catalogue.translated_entries()
    }
    assert compiled == written


def test_chinese_is_chinese(catalogue):
    """Han somewhere in every translation that differs from its source."""
    odd = [
        entry.msgid
        for entry in catalogue.translated_entries()
        # Else it is what stands between the parts of a list, or a name and its value.
        if re.search(r"\w", re.sub(r"%\(\w+\)[sdrf]", "", entry.msgstr))
        and entry.msgstr != entry.msgid
        and not re.search("[一-鿿]", entry.msgstr)
    ]
    assert odd == []


DJANGO = Path(django.__file__).parent


@pytest.mark.parametrize(
    "domain", ["contrib/admin django", "contrib/admin djangojs", "contrib/auth django"]
)
def test_pages_of_django_speak_chinese_too(domain):
    """What Django's Chinese lacks stands in ours: `opsdesk.borrowed`, and for scripts djangojs."""
    app, name = domain.split()
    every = polib.pofile(str(DJANGO / app / f"locale/en/LC_MESSAGES/{name}.po"))
    theirs = polib.pofile(str(DJANGO / app / f"locale/zh_Hans/LC_MESSAGES/{name}.po"))
    ours = polib.pofile(str(FOLDER / f"{name}.po"))
    known = {e.msgid for po in (theirs, ours) for e in po.translated_entries()}
    assert [entry.msgid for entry in every if entry.msgid not in known] == []


def test_scripts_of_the_admin_read_our_words(admin_client):
    said = admin_client.get(reverse("admin:jsi18n"), headers={"accept-language": "zh-hans"})
    assert json.dumps("选用全部%s") in said.content.decode()

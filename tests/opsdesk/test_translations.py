import re
from pathlib import Path

import polib
import pytest
from django.conf import settings

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
        entry.msgid: (entry.msgstr, entry.msgstr_plural)
        for entry in polib.mofile(str(FOLDER / "django.mo"))
    }
    written = {
        entry.msgid: (entry.msgstr, entry.msgstr_plural) for entry in catalogue.translated_entries()
    }
    assert compiled == written


def test_chinese_is_chinese(catalogue):
    """Han somewhere in every translation that differs from its source."""
    odd = [
        entry.msgid
        for entry in catalogue.translated_entries()
        if re.search(r"\w", entry.msgstr)  # else it is what stands between the parts of a list
        and entry.msgstr != entry.msgid
        and not re.search("[一-鿿]", entry.msgstr)
    ]
    assert odd == []

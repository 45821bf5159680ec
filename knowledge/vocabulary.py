"""The words that stand in the passages of a base, for who wrote one of them a little otherwise.

A task reads what has changed since the last time, so neither an import nor an answer waits for
it. A word that is missing or gone for a while does no harm: `slips` asks `TermCount`, which is
never behind, before it takes a word for another.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

from django.db.models import Q, QuerySet
from django.utils import timezone

from knowledge import lexical, pacing, scope, terms
from knowledge.asked import standings
from knowledge.models import Chunk, Document, KnowledgeBase, Vocabulary
from knowledge.weighing import frequencies, key
from opsdesk import locking

MOST = 100_000  # words of a base, the most frequent ones
DOCUMENTS = 1_000  # read in one go
LONG = 2_000  # passages of one document that are read: a table of a million rows repeats itself
BATCH = 100  # documents between two looks whether somebody waits for an answer
SETTLED = timedelta(minutes=1)  # after which the transaction that changed a document is over
BASES = 100  # whose words a process keeps

# Words that a slip may mean: of Latin letters, also joined (innodb_buffer_pool_size), or Chinese.
LATIN = re.compile(r"[a-z]{3,30}|[a-z]+(?:[_-][a-z]+)+")
HAN = re.compile(r"[\u4e00-\u9fff]{1,8}")


def sound(word: str) -> str:
    """The pinyin of Chinese characters without tones and gaps: 内存 → "neicun"."""
    from pypinyin import lazy_pinyin  # reads its dictionaries: half a second

    return "".join(lazy_pinyin(word))


# --- keeping it ------------------------------------------------------------------------


def renew_all() -> None:
    """By the clock: read what has changed in each base."""
    behind = KnowledgeBase.objects.values_list("pk", "version", "vocabulary__version")
    for base_id, version, read in behind:
        if version != read:
            with locking.held(f"vocabulary:{base_id}") as claimed:
                if claimed:
                    renew(base_id)


def read_again() -> None:
    """Nightly: let all be read again, with what the date of a document does not tell: a new title,
    a picture that was described. Until then the words of before stay."""
    Vocabulary.objects.update(upto=None, version=0)


def catch_up(base_id: int) -> None:
    """Read all that has changed in a base, for who asks it right after."""
    while not renew(base_id, timezone.now()):
        pass


def renew(base_id: int, until: datetime | None = None) -> bool:
    """Read documents of a base that have changed, at most so many in one go; whether that was all.

    `until` is when the last of them changed, by default a little while ago.
    """
    version = KnowledgeBase.objects.values_list("version", flat=True).get(pk=base_id)
    kept, _new = Vocabulary.objects.get_or_create(pk=base_id)
    until = until or timezone.now() - SETTLED
    changed = Document.objects.filter(knowledge_base=base_id, current__isnull=False)
    if kept.upto:
        since = Q(updated_at__gt=kept.upto) | Q(edits__created_at__gt=kept.upto)
        changed = changed.filter(since | Q(edits__undone_at__gt=kept.upto)).distinct()
    later = changed.filter(updated_at__gt=until).exists()
    settled = changed.filter(updated_at__lte=until).order_by("updated_at")
    dates = list(settled.values_list("updated_at", flat=True)[:DOCUMENTS])
    more = len(dates) == DOCUMENTS
    upto = dates[-1] if more else until
    documents = list(changed.filter(updated_at__lte=upto).values_list("pk", flat=True))
    if documents:
        kept.words = "\n".join(_read(base_id, documents, _by_word(kept.words)))
        kept.renewed_at = timezone.now()
    kept.upto, kept.version = upto, 0 if more or later else version
    kept.save()
    return not more


def _read(base_id: int, documents: Sequence[int], lines: dict[str, str]) -> list[str]:
    """The lines of all words, with those of documents, that stand in passages now."""
    for ids in (documents[n : n + BATCH] for n in range(0, len(documents), BATCH)):
        pacing.give_way()
        chunks = Chunk.objects.filter(
            scope.answering("document__"), enabled=True, document__in=ids, position__lt=LONG
        )  # a draft's words are nobody's to read yet
        for word in _words(chunks):
            if word not in lines:
                lines[word] = word if word.isascii() else f"{word}\t{sound(word)}"
    return [lines[word] for word in _standing(base_id, lines)]


def _by_word(lines: str) -> dict[str, str]:
    return {line.partition("\t")[0]: line for line in lines.splitlines()}


def _words(chunks: QuerySet[Chunk]) -> set[str]:
    found: set[str] = set()
    for chunk in chunks.select_related("document").iterator():
        text = lexical.passage_text(chunk.document.title, chunk)
        found.update(terms.views(text)[terms.WORDS])
    return {word for word in found if LATIN.fullmatch(word) or HAN.fullmatch(word)}


def _standing(base_id: int, words: Iterable[str]) -> list[str]:
    """Those that stand in a passage now, the most frequent first."""
    keys = {word: key(terms.WORDS, word) for word in words}
    there = frequencies(keys.values(), [base_id])
    standing = [word for word, number in keys.items() if number in there]
    return sorted(standing, key=lambda word: (-there[keys[word]], word))[:MOST]


# --- asking ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """The words of one base, arranged for looking up."""

    by_sound: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    characters: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # alone
    # Latin ones by their first letter and their length.
    by_look: dict[tuple[str, int], list[str]] = field(default_factory=lambda: defaultdict(list))

    def sounding(self, sound: str) -> list[str]:
        return self.by_sound.get(sound, [])

    def looking(self, first: str, lengths: Iterable[int]) -> list[str]:
        """Words that begin with a letter and are so long."""
        return [word for length in lengths for word in self.by_look.get((first, length), ())]


_kept: dict[int, tuple[datetime | None, Words]] = {}  # by base: when they were renewed, its words
_lock = Lock()


def of(base_ids: Sequence[int]) -> tuple[list[Words], int]:
    """The words of each base that has any, and how many chunks they have together."""
    found = [one for one in standings(base_ids) if one.renewed_at]
    return [_of(one.base_id, one.renewed_at) for one in found], sum(one.chunks for one in found)


def _of(base_id: int, renewed: datetime | None) -> Words:
    kept = _kept.get(base_id)
    if kept and kept[0] == renewed:
        return kept[1]
    row = Vocabulary.objects.filter(pk=base_id).only("words", "renewed_at").first()
    if row is None:
        return Words()
    words = _arranged(row.words)
    with _lock:
        if len(_kept) >= BASES:
            _kept.clear()
        _kept[base_id] = row.renewed_at, words
    return words


def _arranged(lines: str) -> Words:
    words = Words()
    for line in lines.splitlines():
        word, _, heard = line.partition("\t")
        if heard:
            (words.by_sound if word[1:] else words.characters)[heard].append(word)
        else:
            words.by_look[word[0], len(word)].append(word)
    return words

"""Text as terms: the three views that words are ranked by. The same for passages and for questions.

Words alone miss what the segmenter cuts differently, characters alone find too much;
the three together found 5 to 7 of 100 ops questions more than words (docs/retrieval.md).
"""

import re
import unicodedata
from collections import Counter
from functools import cache
from itertools import chain
from operator import add
from pathlib import Path

import rjieba

WORDS, BIGRAMS, UNIGRAMS = VIEWS = ("words", "bigrams", "unigrams")
QUESTION_WORD_WEIGHT = 0.3
LONGEST_TERM = 64  # characters; what is longer is a hash or a blob, its beginning will do

# Scripts written without spaces: Han with its extensions, kana, Hangul.
HAN = (
    "\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U000323af"
)
# Any other run keeps what holds commands, addresses and paths together: kube-system, -n,
# ORA-01555, my_table, etc/fstab, 10.0.0.1:4000, c++.
LETTER = rf"[^\W{HAN}]"
RUN = re.compile(
    rf"(?P<han>[{HAN}]+)"
    rf"|(?:(?<!{LETTER})--?)?{LETTER}+(?:[-.:/@#$%&=~\\+]+{LETTER}+)*[+#]{{0,2}}"
)
INNER = re.compile(r"[\W_]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def views(text: str) -> dict[str, Counter[str]]:
    """How often each term stands in `text`, by view."""
    han, whole, cut = _cut(text)
    counted = {
        WORDS: Counter(cut),
        BIGRAMS: Counter(chain.from_iterable(map(add, run, run[1:]) for run in han)),
        UNIGRAMS: Counter(chain(*han, whole)),
    }
    del counted[WORDS]["\n"]
    return counted


def words(text: str) -> frozenset[str]:
    """The terms of the first view alone, in half the time."""
    return frozenset(_cut(text)[2]) - {"\n"}


def _cut(text: str) -> tuple[list[str], list[str], list[str]]:
    """Runs of Han, all other runs, and the words of both, with line breaks between."""
    han: list[str] = []
    words: list[str] = []
    others: list[str] = []
    for run in RUN.finditer(unicodedata.normalize("NFKC", text)):
        if run["han"]:
            han.append(run["han"])
        else:
            whole = run[0][:LONGEST_TERM]
            words += {whole.lower(), *parts(whole)}
            others.append(whole.lower())
    words += rjieba.cut_for_search("\n".join(han), True)  # one call is faster than many
    return han, others, words


def parts(run: str) -> set[str]:
    """The pieces of a run, cut at punctuation and camelCase, in lower case."""
    return {part.lower() for part in INNER.split(run) if part}


def query_terms(query: str) -> dict[str, dict[str, float]]:
    """The terms of a question by view, each with the share of its idf that counts (≤ 1)."""
    return {
        view: {
            term: QUESTION_WORD_WEIGHT if view == WORDS and term in question_words() else 1.0
            for term in terms
        }
        for view, terms in views(query).items()
    }


@cache
def question_words() -> frozenset[str]:
    lines = (Path(__file__).parent / "words" / "question.txt").read_text("utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())

"""Slips put into questions by chance, and what reading them otherwise is worth."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from random import Random
from typing import Any

import rjieba

from evaluation.metrics import distinct, hit_at, mean, percentile
from evaluation.question_sets import Question
from knowledge import retrieval, slips, terms, vocabulary
from knowledge.models import KnowledgeBase

LETTERS, CHARACTERS = "letters", "characters"
PASSAGES = 20  # asked for, so that five distinct documents are among them
_WORD = re.compile(r"(?<![\w./:@#$%&=~\\+-])[A-Za-z]{5,}(?![\w./:@#$%&=~\\+-])")
_HAN = re.compile(r"[\u4e00-\u9fff]{2,}")


# --- damaging ---------------------------------------------------------------------------


def damaged(question: str, kind: str, random: Random) -> str | None:
    """The question with one slip; None if it holds no word to make it in."""
    words = _latin(question) if kind == LETTERS else list(_chinese(question))
    random.shuffle(words)
    for start, end in words:
        written = question[start:end]
        wrong = _mistyped(written, random) if kind == LETTERS else _misheard(written, random)
        if wrong != written:
            return question[:start] + wrong + question[end:]
    return None


def _latin(question: str) -> list[tuple[int, int]]:
    found = _WORD.finditer(question)
    return [word.span() for word in found if not word[0].isupper()]


def _chinese(question: str) -> Iterator[tuple[int, int]]:
    for run in _HAN.finditer(question):
        at = run.start()
        for word in rjieba.cut(run[0], False):
            if len(word) > 1 and word not in terms.question_words():
                yield at, at + len(word)
            at += len(word)


def _mistyped(word: str, random: Random) -> str:
    """Two letters swapped, one left out, or one doubled; the first stays."""
    at = random.randrange(1, len(word) - 1)
    return random.choice(
        [
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
        ]
    )


def _misheard(word: str, random: Random) -> str:
    """One character replaced by a common one that sounds the same."""
    at = random.randrange(len(word))
    alike = [one for one in _by_sound().get(vocabulary.sound(word[at]), []) if one != word[at]]
    return word[:at] + random.choice(alike) + word[at + 1 :] if alike else word


@cache
def _by_sound() -> dict[str, list[str]]:
    """The 3,755 most common characters (the first level of GB 2312)."""
    codes = (bytes([row, cell]) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    common = sorted(
        (vocabulary.sound(one), one) for code in codes if (one := code.decode("gb2312", "ignore"))
    )
    return {
        sound: [one for _, one in ones] for sound, ones in groupby(common, lambda pair: pair[0])
    }


# --- measuring --------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """Hits among the first five documents over the questions that hold a word of a kind."""

    questions: int
    clean: float | None
    damaged: float | None
    mended: float | None
    restored: float | None  # share of the questions that are again as they were


def measure(questions: Sequence[Question], base: KnowledgeBase, seed: int) -> dict[str, Any]:
    """What slips cost, what mending them gives back, and what it does to questions without any."""
    asked = [question for question in questions if question.gold]
    plain = [_hit(question, question.text, base, mend=False) for question in asked]
    rows = {kind: _row(asked, plain, base, kind, seed) for kind in (LETTERS, CHARACTERS)}
    times, changed, mended = [], 0, []
    for question, hit in zip(asked, plain, strict=True):
        start = time.perf_counter()
        read = slips.mend(question.text, [base.pk])
        times.append((time.perf_counter() - start) * 1000)
        changed += bool(read.slips)
        mended.append(_hit(question, question.text, base) if read.slips else hit)
    return {
        "questions": len(asked),
        **{kind: vars(row) for kind, row in rows.items()},
        "changed": changed / len(asked) if asked else None,
        "hit@5": mean(plain),
        "hit@5 with mending": mean(mended),
        "mend_ms": {"p50": percentile(times, 0.5), "p95": percentile(times, 0.95)},
    }


def _row(
    asked: Sequence[Question], plain: Sequence[float], base: KnowledgeBase, kind: str, seed: int
) -> Row:
    clean, wrong, right, restored = [], [], [], []
    for question, hit in zip(asked, plain, strict=True):
        text = damaged(question.text, kind, Random(f"{seed} {kind} {question.id}"))  # noqa: S311
        if text is None:
            continue
        clean.append(hit)
        wrong.append(_hit(question, text, base, mend=False))
        read = slips.mend(text, [base.pk])
        right.append(_hit(question, text, base) if read.slips else wrong[-1])
        restored.append(terms.views(read.text.lower()) == terms.views(question.text.lower()))
    return Row(len(clean), mean(clean), mean(wrong), mean(right), mean(map(float, restored)))


def _hit(question: Question, text: str, base: KnowledgeBase, *, mend: bool = True) -> float:
    found = retrieval.search(text, [base], PASSAGES, mend=mend)
    ranking = distinct(passage.external_id for passage in found.passages)
    return hit_at(5, ranking, question.gold)

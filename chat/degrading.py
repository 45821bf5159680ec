"""The ladder: what an answer is made without when something configured fails, and its words.

full → without the reranker → by words alone → an extract → a person. Each rung is noted on the
turn (`TurnState.degrade`), stands in its trace and on its message, and is said in one sentence.
What is not configured fails nowhere.
"""

from collections.abc import Sequence

from django.utils.translation import gettext as _

from knowledge.retrieval import DEGRADED, NO_RERANKER, PARTLY_WORDS

NO_UNDERSTANDING = "no_understanding"  # the model did not read the message, rules did
NO_VISION = "no_vision"  # a picture was read without its model
NO_JUDGE = "no_judge"  # nothing took the second look
EXTRACTIVE = "extractive"  # the model did not write the answer
PERSON = "person"  # nothing was left but a person

# From the least to the most that is missing.
RUNGS = (
    NO_UNDERSTANDING, NO_VISION, NO_JUDGE, NO_RERANKER, PARTLY_WORDS, DEGRADED, EXTRACTIVE, PERSON,
)  # fmt: skip


def sentence(names: Sequence[str]) -> str:
    """What `names` mean to who reads the answer, "" for nothing worth a word."""
    said = {
        NO_VISION: _("the picture was read without its model"),
        NO_RERANKER: _("the results were not ranked a second time"),
        PARTLY_WORDS: _("some knowledge bases were searched by words alone"),
        DEGRADED: _("the search was by words alone"),
        EXTRACTIVE: _("the answer is quoted from the documents, not written"),
    }
    if PERSON in names:
        return _("OpsDesk has a technical problem, so a person will help.")
    parts = [said[name] for name in RUNGS if name in names and name in said]
    if not parts:
        return ""
    return _("For the moment: %(parts)s.") % {"parts": _("; ").join(parts)}


def labels() -> dict[str, str]:
    """What staff read for each name."""
    return {
        NO_UNDERSTANDING: _("message read by rules, the model failed"),
        NO_VISION: _("picture without the vision model"),
        NO_JUDGE: _("no second look, the model failed"),
        NO_RERANKER: _("without the reranker, which failed"),
        PARTLY_WORDS: _("words alone in some bases, their embedder failed"),
        DEGRADED: _("words only, the embedder failed"),
        EXTRACTIVE: _("an extract, the model failed"),
        PERSON: _("nothing worked: a person"),
    }

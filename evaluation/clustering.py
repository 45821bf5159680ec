"""Questions gathered by what they are about, without saying how many topics there are.

The same text always comes to the same topics: questions are put in order first. Average linkage
over the cosine of their words and characters (`knowledge.terms`); `manage.py bench_gaps` measures
it on questions whose topics are known.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from knowledge import terms

APART = 0.78  # distance of two topics, 0–1 (docs/operations.md has what other values bring)
MOST = 3000  # different questions: memory grows with their square
LABEL = 3  # words
Matrix = NDArray[np.float64]


def gathered(
    questions: Sequence[str], meanings: Matrix | None = None, apart: float = APART
) -> list[int]:
    """The topic of each of the `questions`, at most MOST of them, as a number.

    `meanings`: their vectors, a row each, of length 1; then they count as much as the words.
    """
    from scipy.cluster.hierarchy import fcluster, linkage  # takes a second
    from scipy.spatial.distance import squareform

    if len(questions) < 2:
        return [0] * len(questions)
    order = sorted(range(len(questions)), key=lambda n: (questions[n], n))
    alike = likeness([questions[n] for n in order])
    if meanings is not None:
        alike = (alike + _meant_alike(meanings[order])) / 2
    distances = np.clip(1 - alike, 0, None)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(distances, checks=False), "average")
    topics = [0] * len(questions)
    for place, topic in zip(order, fcluster(tree, apart, "distance").tolist(), strict=True):
        topics[place] = topic
    return topics


def likeness(questions: Sequence[str]) -> Matrix:
    """The cosine of every two questions by what they are written of, 0–1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    made = TfidfVectorizer(analyzer=_features, sublinear_tf=True)
    try:
        weighed = made.fit_transform(questions)
    except ValueError:  # nothing but marks in any of them
        return np.eye(len(questions))
    alike: Matrix = (weighed @ weighed.T).toarray()
    return alike


def _features(question: str) -> list[str]:
    views = terms.views(question)
    words = [word for word in views[terms.WORDS] if word not in terms.question_words()]
    return [*words, *views[terms.BIGRAMS], *(f"{one}\0" for one in views[terms.UNIGRAMS])]


def _meant_alike(meanings: Matrix) -> Matrix:
    """The cosine of meanings, so that two questions taken at random are worth nothing: models
    differ in how alike they find everything."""
    cosines: Matrix = meanings @ meanings.T
    usual = float(np.median(cosines))
    return np.clip((cosines - usual) / max(1 - usual, 1e-6), 0, 1)


def label(questions: Sequence[str], common: Counter[str], of: int) -> list[str]:
    """The words that most of the `questions` have and few others, the most telling first.

    `common`: how many of all `of` questions have each word, by `words`.
    """
    held = words(questions)
    worth = {
        word: count * (1 + math.log((1 + of) / (1 + common[word]))) * math.log1p(len(word))
        for word, count in held.items()
        if count * 3 >= len(questions)
    }
    chosen: list[str] = []
    for word in sorted(worth, key=lambda word: (-worth[word], word)):
        if not any(word in one or one in word for one in chosen):
            chosen.append(word)
    return chosen[:LABEL]


def words(questions: Iterable[str]) -> Counter[str]:
    """How many of the `questions` have each word."""
    return Counter(word for question in questions for word in _words(question))


def _words(question: str) -> set[str]:
    held = terms.views(question)[terms.WORDS]
    return {word for word in held if len(word) > 1 and word not in terms.question_words()}


def typical(questions: Sequence[str]) -> int:
    """Where the question stands that is most like all others; of equals the shortest."""
    worth = likeness(questions).sum(axis=1).round(9)
    return min(range(len(questions)), key=lambda n: (-worth[n], len(questions[n]), questions[n]))

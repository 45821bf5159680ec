"""Asking what means most nearly a question: its vector by every model that answers for a base, and
what that model's indexes hold near it.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from django.utils.translation import gettext as _

from knowledge import vectors
from knowledge.embedders import Meaning
from knowledge.embedding import answering, embedder_of
from knowledge.models import EmbeddingIndex
from knowledge.scope import EVERYTHING, Scope
from knowledge.stores import store
from opsdesk.errors import ModelError

log = logging.getLogger(__name__)
COLBERT_SECONDS = 2.0  # that a question waits for it


@dataclass
class _OfModel:
    """What one model says of a question."""

    meaning: Meaning
    indexes: list[tuple[EmbeddingIndex, Sequence[int]]]  # with the bases each is asked for
    scores: dict[int, tuple[float, float | None]]  # of chunks: cosine, and of learned weights


@dataclass
class Near:
    """What the vectors say of a question."""

    failed: list[int] = field(default_factory=list)  # bases whose embedder did
    models: list[_OfModel] = field(default_factory=list)

    @property
    def chunks(self) -> list[int]:
        """All that have scores, each once."""
        return list(dict.fromkeys(chunk for one in self.models for chunk in one.scores))

    @property
    def groups(self) -> list[set[int]]:
        """The chunks of each model: only among them its scores compare."""
        return [set(one.scores) for one in self.models if one.scores]

    @property
    def stages(self) -> dict[str, dict[int, float]]:
        """Scores of chunks as they are: "dense" (cosine) and "sparse" (the inner product of
        learned weights). Every chunk of a group has all the scores that its model gives."""
        stages: dict[str, dict[int, float]] = {}
        for one in self.models:
            for chunk, (cosine, product) in one.scores.items():
                stages.setdefault("dense", {})[chunk] = max(cosine, 0.0)
                if product is not None:
                    stages.setdefault("sparse", {})[chunk] = product
        return stages

    def add(self, chunk_ids: Collection[int]) -> None:
        """What they say of chunks that were found otherwise, of those that have vectors."""
        for one in self.models:
            new = [chunk for chunk in chunk_ids if chunk not in one.scores]
            for index, bases in one.indexes if new else ():
                one.scores |= vectors.scores(index, one.meaning, bases, new)


def nearest_in(query: str, base_ids: Sequence[int], limit: int, scope: Scope = EVERYTHING) -> Near:
    """What means most nearly `query`: for each base by the index that answers for it.

    `limit` chunks for each index and way of finding. The question is encoded once for each model;
    an embedder that fails leaves its bases to words.
    """
    near = Near()
    for indexes in _by_model(answering(base_ids)):
        try:
            meaning = embedder_of(indexes[0][0]).query(query)
        except ModelError as error:
            log.warning("asked without the embedder: %s", error)
            near.failed += [base for _index, bases in indexes for base in bases]
            continue
        of = _OfModel(meaning, [], {})
        for index, some in indexes:
            bases = base_ids if len(some) == len(base_ids) else some  # what was read of them
            of.indexes.append((index, bases))
            found = store().nearest(index, meaning.vector, bases, limit, scope)
            if not (index.sparse and meaning.weights):
                of.scores |= {chunk: (cosine, None) for chunk, cosine in found.items()}
                continue
            others = vectors.heaviest(index, meaning.weights, bases, limit, scope)
            of.scores |= vectors.scores(index, meaning, bases, {*found, *others})
        near.models.append(of)
    return near


def _by_model(
    answers: dict[EmbeddingIndex, list[int]],
) -> list[list[tuple[EmbeddingIndex, list[int]]]]:
    """Indexes, each with its bases, of one model together."""

    def model(one: tuple[EmbeddingIndex, list[int]]) -> tuple[str, str, int]:
        return one[0].embedder, one[0].model, one[0].dimensions

    return [list(group) for _model, group in groupby(sorted(answers.items(), key=model), model)]


def rank(
    index: EmbeddingIndex, query: str, base_ids: Sequence[int], chunk_id: int, scope: Scope
) -> tuple[int, float] | None:
    """Which place, from 1, a chunk has or would have if it answered, and its cosine; None
    without a vector. Raises ModelError when the embedder fails."""
    meaning = embedder_of(index).query(query)
    return vectors.rank(index, meaning.vector, base_ids, chunk_id, scope)


def colbert(
    index: EmbeddingIndex, query: str, texts: Sequence[str], seconds: float = COLBERT_SECONDS
) -> list[float]:
    """How well `texts` meet `query` token by token, 0–1, by the model of `index`: of so many of
    them, from the first one on, as `seconds` allow. ModelError when it fails or cannot."""
    embedder = embedder_of(index)
    if not embedder.late:
        raise ModelError(
            _("The embedding model %(model)s gives no vectors of tokens.")
            % {"model": embedder.model},
            permanent=True,
        )
    return embedder.colbert(query, texts, seconds)

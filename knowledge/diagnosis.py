"""What the doctor says of the index: whether all that is known can be found."""

import time
from collections.abc import Iterator

from django.db.models import Count, F
from django.utils.translation import gettext as _

from knowledge import embedding
from knowledge.models import Chunk, EmbeddingIndex, KnowledgeBase
from opsdesk.backends import backend
from opsdesk.diagnosis import Finding, Level
from opsdesk.errors import ModelError


def drift() -> Iterator[Finding]:
    """Chunks that the words or the vectors do not know."""
    unfound = Chunk.objects.filter(terms=None).count()
    miscounted = (
        KnowledgeBase.objects.annotate(real=Count("chunks"))
        .filter(lexicon__isnull=False)
        .exclude(real=F("lexicon__chunks"))
        .count()
    )
    if unfound or miscounted:
        message = _("%(chunks)s chunks without their words, %(bases)s bases counted wrong")
        yield Finding(
            "words",
            Level.WARN,
            message % {"chunks": unfound, "bases": miscounted},
            "manage.py reindex",
        )
    else:
        yield Finding("words", Level.OK, _("all %(chunks)s chunks") % {"chunks": _chunks()})
    for index in embedding.live().exclude(state=EmbeddingIndex.State.BUILDING):
        yield _vectors(embedding.missing(index).count(), str(index))


def _vectors(missing: int, name: str) -> Finding:
    if missing:
        message = _("%(chunks)s chunks without a vector of %(index)s")
        return Finding(
            "vectors",
            Level.WARN,
            message % {"chunks": missing, "index": name},
            "manage.py build_index",
        )
    return Finding("vectors", Level.OK, _("all %(chunks)s chunks") % {"chunks": _chunks()})


def reranker() -> Iterator[Finding]:
    """Whether the reranker answers, if there is one."""
    chosen = backend("reranker")
    if chosen is None:
        message = _("none configured: passages keep the order they are found in")
        yield Finding("reranker", Level.OK, message)
        return
    begun = time.monotonic()
    try:
        chosen.scores("nginx", ["nginx", "mysql"])
    except ModelError as error:
        remedy = _("See OPSDESK_RERANKER and OPSDESK_RERANK_… in the README.")
        yield Finding("reranker", Level.WARN, f"{chosen.model}: {error}", remedy)
        return
    message = _("%(model)s, %(ms)d ms for two passages")
    taken = (time.monotonic() - begun) * 1000
    yield Finding("reranker", Level.OK, message % {"model": chosen.model, "ms": taken})


def _chunks() -> int:
    return Chunk.objects.count()

"""What the doctor says of the index: whether all that is known can be found."""

from collections.abc import Iterator

from django.db.models import Count, F
from django.utils.translation import gettext as _

from knowledge import embedding
from knowledge.models import Chunk, KnowledgeBase
from opsdesk.diagnosis import Finding, Level


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
    if index := embedding.active():
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


def _chunks() -> int:
    return Chunk.objects.count()

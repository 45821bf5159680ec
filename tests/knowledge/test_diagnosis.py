import pytest
from django.core.management import call_command

from knowledge import diagnosis, embedding
from knowledge.models import ChunkTerms, EmbeddingIndex, Lexicon
from opsdesk.diagnosis import Level
from tests.knowledge import documents
from tests.knowledge.test_indexing import counts, found

pytestmark = pytest.mark.django_db


def levels():
    return {finding.subject: finding.level for finding in diagnosis.drift()}


def test_lost_words_are_found_and_reindex_brings_them_back():
    base = documents.base()
    documents.put(base, "重启 nginx 服务之前先备份配置")
    documents.put(base, "数据库备份每天执行", title="备份制度")
    assert levels() == {"words": Level.OK}
    ChunkTerms.objects.earliest("pk").delete()
    assert levels() == {"words": Level.WARN}
    assert not found(base, "nginx")
    call_command("reindex", base.slug)
    assert levels() == {"words": Level.OK}
    assert found(base, "nginx")
    kept, counted = counts(base)
    assert kept == counted


def test_a_wrong_count_is_found():
    base = documents.base()
    documents.put(base, "数据库备份每天执行")
    Lexicon.objects.update(chunks=5)
    assert levels() == {"words": Level.WARN}
    call_command("reindex")
    assert levels() == {"words": Level.OK}


def test_missing_vectors_are_found():
    documents.put(documents.base(), "数据库备份每天执行")
    EmbeddingIndex.objects.create(
        embedder="x", model="m", dimensions=8, state=EmbeddingIndex.State.ACTIVE
    )
    assert embedding.active()
    assert levels() == {"words": Level.OK, "vectors": Level.WARN}

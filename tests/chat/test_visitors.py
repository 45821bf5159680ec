"""Who an anonymous visitor is decides what may be opened beside what answers now."""

import pytest
from django.core.files.base import ContentFile
from django.test import Client

from chat import transcript, visitors
from chat.models import Citation, Conversation
from knowledge import tasks, uploading

pytestmark = pytest.mark.django_db


def revision(base, text):
    file = ContentFile(text.encode())
    added = uploading.add(base, file=file, name="a.md", external_id="a", approved=True)
    tasks.process(added.revision.pk)
    return added.revision


def test_an_earlier_revision_is_still_shown_to_whom_it_was_cited(base, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    old, cited = revision(base, "旧"), revision(base, "旧的")
    asker, other = Client(), Client()
    for client in (asker, other):
        client.get("/")
    mine = Conversation.objects.create(visitor=visitors.visitor(
        {name: morsel.value for name, morsel in asker.cookies.items()}
    ))  # fmt: skip
    answer = transcript.append(mine.pk, "assistant", "旧的 [1]")
    Citation.objects.create(message=answer, n=1, title="a", revision=cited, quote="旧的")
    revision(base, "新")

    def opened(client, row):
        return client.get(f"/revisions/{row.pk}/pages/1.html").status_code

    assert (opened(asker, cited), opened(asker, old)) == (200, 404)
    assert (opened(other, cited), opened(other, old)) == (404, 404)

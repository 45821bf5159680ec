import pytest
from django.contrib.auth.models import AnonymousUser, Group, User

from knowledge.models import KnowledgeBase

pytestmark = pytest.mark.django_db


def test_who_may_read_a_knowledge_base():
    team = Group.objects.create(name="team")
    member, other = User.objects.create(username="member"), User.objects.create(username="other")
    member.groups.add(team)
    for audience in KnowledgeBase.Audience:
        KnowledgeBase.objects.create(slug=audience, name=audience, audience=audience)
    KnowledgeBase.objects.get(slug="groups").groups.add(team)

    def slugs(user):
        return set(KnowledgeBase.objects.readable_by(user).values_list("slug", flat=True))

    assert slugs(AnonymousUser()) == {"visitors"}
    assert slugs(other) == {"visitors", "signed_in"}
    assert slugs(member) == {"visitors", "signed_in", "groups"}

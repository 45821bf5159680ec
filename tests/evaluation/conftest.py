"""A small base, a sample of it, and who labels it."""

import pytest

from chat.models import Turn
from knowledge.models import KnowledgeBase
from tests.evaluation import drawn
from tests.knowledge import documents


@pytest.fixture
def base():
    made = documents.base(audience=KnowledgeBase.Audience.VISITORS)
    documents.put_many(
        made, "怎么重启：先执行 systemctl restart nginx。", "重启之前备份配置。", "值班表在门户上。"
    )
    return made


@pytest.fixture
def sampler(base):
    return drawn.staff("sampler", "add_sample")


@pytest.fixture
def ann():
    return drawn.staff("ann")


@pytest.fixture
def bob():
    return drawn.staff("bob")


@pytest.fixture
def eve():
    return drawn.staff("eve", "adjudicate_sample")


@pytest.fixture
def sample(base, sampler):
    for outcome in (Turn.Outcome.ANSWERED, Turn.Outcome.ANSWERED, Turn.Outcome.HANDOFF):
        drawn.turn(base, outcome)
    return drawn.draw(sampler, 3, axes=())

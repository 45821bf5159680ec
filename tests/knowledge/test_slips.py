import pytest

from knowledge import slips
from tests.knowledge import documents

pytestmark = pytest.mark.django_db


@pytest.fixture
def base():
    return documents.base()


def test_what_stands_in_the_asked_bases_is_known(base):
    other = documents.base("other")
    documents.put(base, "用 kubectl get pods 查看状态，Jump Server 在堡垒机上，路径 etc/fstab")
    documents.put(other, "EMQX 的消息队列")
    asked = ["Kubectl", "ｋｕｂｅｃｔｌ", "EMQX", "jump server", "jump EMQX", "fstab"]
    asked += ["堡垒机", "跳板", "？"]
    assert slips.known(asked, [base.pk]) == {
        "Kubectl",
        "ｋｕｂｅｃｔｌ",
        "jump server",
        "fstab",
        "堡垒机",
    }
    assert {"EMQX", "消息队列"} <= slips.known([*asked, "消息队列"], [base.pk, other.pk])
    assert slips.known(asked, []) == set()

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from knowledge import synonyms
from knowledge.models import KnowledgeBase, Role, Term
from tests.knowledge import documents

pytestmark = pytest.mark.django_db
LIST = reverse("admin:knowledge_term_changelist")
ADD = reverse("admin:knowledge_term_add")
IMPORT = reverse("admin:knowledge_term_import")


@pytest.fixture
def base():
    return documents.base()


def version(base):
    return KnowledgeBase.objects.get(pk=base.pk).version


def send(client, base, text, name="terms.csv"):
    file = SimpleUploadedFile(name, text.encode() if isinstance(text, str) else text)
    return client.post(IMPORT, {"knowledge_base": base.pk, "file": file})


def test_a_term_is_added_and_its_contradictions_are_named(admin_client, base):
    before = version(base)
    data = {
        "knowledge_base": base.pk,
        "canonical": "堡垒机",
        "variants": "跳板机；Jump Server\n  \n堡垒主机",
        "enabled": "on",
    }
    assert admin_client.post(ADD, data).status_code == 302
    assert Term.objects.get().variants == ["跳板机", "Jump Server", "堡垒主机"]
    assert version(base) > before
    page = admin_client.post(ADD, {**data, "canonical": "网关", "variants": "ＪＵＭＰ server"})
    assert "堡垒机" in page.context["adminform"].form.errors["variants"][0]
    change = reverse("admin:knowledge_term_change", args=[Term.objects.get().pk])
    assert b"Jump Server" in admin_client.get(change).content
    assert admin_client.post(change, {**data, "variants": "a" * 101}).status_code == 200
    assert admin_client.post(change, {**data, "variants": ""}).status_code == 302
    assert Term.objects.get().variants == []


def test_terms_are_found_by_what_they_are_also_called(admin_client, base):
    Term.objects.create(knowledge_base=base, canonical="堡垒机", variants=["跳板机"])
    Term.objects.create(knowledge_base=base, canonical="磁盘", variants=["硬盘"])
    found = admin_client.get(LIST, {"q": "跳板"}).context["cl"].result_list
    assert [term.canonical for term in found] == ["堡垒机"]


def test_good_rows_come_in_and_bad_ones_are_named(admin_client, base):
    Term.objects.create(knowledge_base=base, canonical="磁盘", variants=["硬盘"], note="旧")
    sheet = (
        "术语,同义词,启用\n堡垒机,跳板机;Jump Server,是\n磁盘,硬盘、盘柜,否\n,孤儿,\n网关,跳板机,\n"
    )
    taken = send(admin_client, base, sheet).context["taken"]
    assert (taken.new, taken.changed, taken.unchanged) == (1, 1, 0)
    assert [row for row, _ in taken.errors] == [4, 5]
    assert "堡垒机" in taken.errors[1][1]
    disk = Term.objects.get(canonical="磁盘")
    assert (disk.variants, disk.enabled, disk.note) == (["硬盘", "盘柜"], False, "旧")


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_what_was_exported_comes_back_unchanged(admin_client, base, kind):
    Term.objects.create(knowledge_base=base, canonical="堡垒机", variants=["跳板机", "=1+1 机"])
    Term.objects.create(knowledge_base=base, canonical="磁盘", enabled=False, note="a, b")
    url = reverse("admin:knowledge_term_export", args=[kind])
    file = admin_client.get(url, {"knowledge_base": base.pk}).content
    taken = send(admin_client, base, file, f"terms.{kind}").context["taken"]
    assert (taken.unchanged, taken.errors) == (2, [])
    other = documents.base("other")
    assert send(admin_client, other, file, f"terms.{kind}").context["taken"].new == 2
    assert not Term.objects.get(knowledge_base=other, canonical="磁盘").enabled


def test_what_is_no_sheet_is_said(admin_client, base):
    page = send(admin_client, base, b"\x7fELF" + bytes(60), "a.xlsx")
    assert page.status_code == 200
    assert page.context["form"].errors["file"]


def test_several_are_switched_off_and_on(admin_client, base):
    terms = [Term.objects.create(knowledge_base=base, canonical=name) for name in ("磁盘", "网关")]
    for action, enabled in (("disable", 0), ("enable", 2)):
        before = version(base)
        ids = [term.pk for term in terms]
        admin_client.post(LIST, {"action": action, "_selected_action": ids})
        assert Term.objects.filter(enabled=True).count() == enabled
        assert version(base) > before


def test_a_curator_keeps_to_the_own_base(client, base):
    other = documents.base("other")
    for one in (base, other):
        Term.objects.create(knowledge_base=one, canonical=f"术语{one.slug}")
    group = Group.objects.create(name="ops")
    Role.objects.create(knowledge_base=base, group=group)
    user = User.objects.create_user("lin", is_staff=True)
    user.groups.add(group)
    client.force_login(user)
    assert [t.knowledge_base for t in client.get(LIST).context["cl"].result_list] == [base]
    assert send(client, other, "术语\n网关\n").context["form"].errors["knowledge_base"]
    exported = client.get(reverse("admin:knowledge_term_export", args=["csv"])).content.decode()
    assert "术语ops" in exported
    assert "术语other" not in exported
    assert synonyms.owners(other.pk).keys() == {"术语other"}


def test_a_term_that_stands_twice_in_a_sheet_keeps_its_first_row(admin_client, base):
    page = send(admin_client, base, "术语,同义词\n网关,GW;gateway\n网关,重复\n").content.decode()
    assert "网关" in page and Term.objects.get().variants == ["GW", "gateway"]

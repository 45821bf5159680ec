"""Who labels which item next: each goes to two, and nobody waits."""

import threading

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.utils import timezone

from evaluation import claiming, labelling, pooling
from evaluation.labelling import Form
from evaluation.models import Item, Label, Verdict
from knowledge.models import Role
from opsdesk.errors import Conflict
from tests.evaluation import drawn
from tests.evaluation.drawn import of

pytestmark = pytest.mark.django_db


def test_an_item_goes_to_two_and_each_gets_it_once(sample, ann, bob, eve):
    first = claiming.claim(sample, ann)
    assert claiming.claim(sample, ann) == first  # until it is done
    assert claiming.claim(sample, bob).item == first.item
    assert claiming.claim(sample, eve).item != first.item
    labelling.finish(first, Form(labelling.kinds(first.item)[0]))
    assert claiming.claim(sample, ann).item != first.item


def test_a_claim_that_was_left_comes_free_and_the_draft_stays(sample, ann, bob, eve):
    first = claiming.claim(sample, ann)
    labelling.keep(first, Form("", note="半句", seconds=5))
    claiming.claim(sample, bob)
    Label.objects.filter(pk=first.pk).update(lease_until=timezone.now())
    third = claiming.claim(sample, eve)
    assert third.item == first.item
    assert claiming.claim(sample, ann).item != first.item  # two others have it now
    third.delete()
    Label.objects.filter(item=first.item, rater=bob).delete()
    again = claiming.claim(sample, ann)
    assert (again.pk, again.note, again.seconds) == (first.pk, "半句", 5)


def test_what_others_finished_meanwhile_is_refused(sample, ann, bob, eve):
    first = claiming.claim(sample, ann)
    kind = labelling.kinds(first.item)[0]
    for user in (bob, eve):
        labelling.finish(of(first.item, user), Form(kind))
    with pytest.raises(Conflict):
        labelling.finish(first, Form(kind))


def test_what_is_passed_over_comes_last(sample, ann):
    first = claiming.claim(sample, ann)
    claiming.pass_over(first)
    items = []
    for _n in range(2):
        label = claiming.claim(sample, ann)
        labelling.finish(label, Form(labelling.kinds(label.item)[0]))
        items.append(label.item)
    assert first.item not in items
    assert claiming.claim(sample, ann) == first


@pytest.mark.django_db(transaction=True)
def test_of_many_who_claim_at_once_no_item_goes_to_more_than_two(base, sampler):
    for _n in range(6):
        drawn.turn(base)
    sample = drawn.draw(sampler, 6)
    for item in sample.items.all():
        pooling.pool(item)
    users = [drawn.staff(f"rater{n}") for n in range(6)]
    begin = threading.Barrier(len(users))
    got = {}

    def work(user):
        try:
            begin.wait(30)
            mine = []
            while label := claiming.claim(sample, user):
                labelling.finish(label, Form("right"))
                mine.append(label.item_id)
            got[user.pk] = mine
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[user]) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    labelled = [item for items in got.values() for item in items]
    assert sorted(labelled) == sorted(list(sample.items.values_list("pk", flat=True)) * 2)
    assert all(len(set(items)) == len(items) for items in got.values())
    assert Verdict.objects.count() == 6


def test_nobody_labels_what_they_may_not_read(sample, base):

    viewer = drawn.staff("viewer")
    viewer.user_permissions.remove(*viewer.user_permissions.filter(codename="view_document"))
    viewer = User.objects.get(pk=viewer.pk)
    assert claiming.claim(sample, viewer) is None
    group = Group.objects.create(name="g")
    viewer.groups.add(group)
    Role.objects.create(knowledge_base=base, group=group, kind=Role.Kind.VIEWER)
    viewer = User.objects.get(pk=viewer.pk)
    label = claiming.claim(sample, viewer)
    assert label
    # Passages of a base that they may not read make an item another's.
    Item.objects.update(bases=[base.pk, base.pk + 1000])
    assert claiming.mine(viewer, label.pk) is None

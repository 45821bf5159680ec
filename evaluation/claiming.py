"""Who labels which item next: claimed under a lease, by as many raters as it wants."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from evaluation import pooling
from evaluation.models import Item, Label, Sample
from knowledge import permissions

LEASE = timedelta(minutes=30)


def may_label(user: Any) -> bool:
    return bool(user.is_active and user.is_staff and user.has_perm("evaluation.label_sample"))


def may_decide(user: Any) -> bool:
    return bool(user.is_active and user.is_staff and user.has_perm("evaluation.adjudicate_sample"))


def readable(user: Any) -> list[int]:
    """Ids of the bases whose items the user may label."""
    return list(permissions.bases(user, "view").values_list("pk", flat=True))


def claim(sample: Sample, user: Any, decide: bool = False) -> Label | None:
    """The item that `user` labels next, or with `decide` decides, as their draft; None when there
    is none. What they began comes first, what they passed over last."""
    own = readable(user)
    while label := (
        _begun(sample, user, decide, own)
        or _new(sample, user, decide, own)
        or _begun(sample, user, decide, own, passed=True)
    ):
        pooling.pool(label.item)
        if set(label.item.bases) <= set(own):
            return label
        label.delete()  # it shows what they may not read; the item says so from now on
    return None


def mine(user: Any, pk: int) -> Label | None:
    """A label of their own, while they may read what it is about."""
    labels = Label.objects.select_related("item__sample", "item__turn__reply", "rater")
    found = labels.filter(pk=pk, rater=user).first()
    return found if found and set(found.item.bases) <= set(readable(user)) else None


def open_to(item: Item, label: Label) -> bool:
    """Whether a locked item still takes this label."""
    if label.adjudicates and not item.disputed:
        return False
    return _others(item, label.rater, label.adjudicates).done().count() < _wanted(item, label)


def pass_over(label: Label) -> None:
    """Leave an item for later: others may have it meanwhile."""
    Label.objects.filter(pk=label.pk, done_at=None).update(lease_until=None)


def open_items(
    sample: Sample, user: Any, decide: bool, own: list[int] | None = None
) -> QuerySet[Item]:
    """What is there for `user` to begin with, in the order in which it comes."""
    own = readable(user) if own is None else own
    labels = Label.objects.filter(item=OuterRef("pk"), adjudicates=decide)
    items = sample.items.filter(
        ~Exists(labels.filter(rater=user)), turn__isnull=False, bases__contained_by=own
    )
    taken = labels.filter(_live()).order_by().values("item").annotate(n=Count("pk")).values("n")
    items = items.annotate(taken=Coalesce(Subquery(taken), 0))
    if not decide:
        return items.filter(taken__lt=sample.raters).order_by("position")
    if not may_decide(user):  # then a third, who has not labelled it
        blind = Label.objects.filter(item=OuterRef("pk"), rater=user, adjudicates=False)
        items = items.filter(~Exists(blind))
    first = F("kind").asc(nulls_first=True)  # where the verdict itself is in dispute
    return items.filter(disputed=True, taken=0).order_by(first, "position")


# --- one item ---------------------------------------------------------------------------


def _live() -> Q:
    return Q(done_at__isnull=False) | Q(lease_until__gt=timezone.now())


def _others(item: Item, rater: Any, decide: bool) -> Any:
    return Label.objects.filter(item=item, adjudicates=decide).exclude(rater=rater)


def _wanted(item: Item, label: Label) -> int:
    return 1 if label.adjudicates else item.sample.raters


def _begun(
    sample: Sample, user: Any, decide: bool, own: list[int], passed: bool = False
) -> Label | None:
    """A draft of theirs, claimed again, while the item wants it."""
    drafts = Label.objects.filter(
        item__sample=sample, rater=user, adjudicates=decide, done_at=None,
        lease_until__isnull=passed, item__turn__isnull=False, item__bases__contained_by=own,
    )  # fmt: skip
    for draft in drafts.order_by("item__position").select_related("item__sample"):
        with transaction.atomic():
            item = Item.objects.select_for_update().get(pk=draft.item_id)
            live = _others(item, user, decide).filter(_live()).count()
            if live < _wanted(draft.item, draft) and (item.disputed or not decide):
                draft.lease_until = timezone.now() + LEASE
                draft.save(update_fields=["lease_until"])
                return draft
    return None


def _new(sample: Sample, user: Any, decide: bool, own: list[int]) -> Label | None:
    """Claim the next item. The last ones may be locked just while others claim them: then wait."""
    for skip_locked in (True, False):
        full: list[int] = []
        while True:
            with transaction.atomic():
                items = open_items(sample, user, decide, own).exclude(pk__in=full)
                item = items.select_for_update(skip_locked=skip_locked, of=("self",)).first()
                if item is None:
                    break
                item.sample = sample
                label = Label(item=item, rater=user, adjudicates=decide)
                # What was committed since the query began is seen only now, under the lock.
                if _others(item, user, decide).filter(_live()).count() < _wanted(item, label):
                    label.lease_until = timezone.now() + LEASE
                    label.save()
                    return label
            full.append(item.pk)
    return None

"""Turns to draw from, and samples of them, for tests of what is made of samples."""

from datetime import timedelta

from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse
from django.utils import timezone

from chat.models import Citation, Conversation, Message, Turn
from evaluation import claiming, labelling, sampling
from evaluation.labelling import Form
from evaluation.models import Label
from evaluation.sampling import Frame, Wish
from knowledge import confidence
from knowledge.models import Chunk, Role

FEATURES = dict.fromkeys(confidence.SHIPPED.coefficients, 0.5)


def turn(base, outcome=Turn.Outcome.ANSWERED, sure=0.9, text="怎么重启？", reply="", user=None,
         channel="web", at=None, **trace):  # fmt: skip
    """A finished turn that looked in `base` (None: nowhere) and was shown its first passages."""
    conversation = Conversation.objects.create(channel=channel, user=user, knowledge_base=base)
    message = Message.objects.create(conversation=conversation, seq=1, role="customer", text=text)
    answered = outcome == Turn.Outcome.ANSWERED
    words = reply or ("先执行 `df -h`。[1] 再清理日志。[1]" if answered else "为您转接人工。")
    said = Message.objects.create(conversation=conversation, seq=2, role="assistant", text=words)
    if base:
        chunks = list(
            Chunk.objects.filter(knowledge_base=base).select_related("document").order_by("pk")[:5]
        )
        trace = {
            "query": text,
            "sureness": {"features": FEATURES, "base": base.pk, "threshold": 0.5},
            "passages": [
                {"chunk_id": one.pk, "title": one.document.title, "locator": one.locator}
                for one in chunks
            ],
            **trace,
        }
        if answered and chunks:
            first = chunks[0]
            Citation.objects.create(
                message=said, n=1, chunk=first, document=first.document, quote=first.text,
                revision=first.revision, title=first.document.title, locator=first.locator,
            )  # fmt: skip
    made = Turn.objects.create(
        conversation=conversation, message=message, reply=said, epoch=0, outcome=outcome,
        status=Turn.Status.DONE, confidence=sure, trace=trace,
    )  # fmt: skip
    if at:
        Turn.objects.filter(pk=made.pk).update(created_at=at)
    return made


def frame(**more):
    now = timezone.now()
    return Frame(now - timedelta(days=30), now + timedelta(minutes=1), **more)


def draw(user, size=10, seed=1, **more):
    wish = Wish(more.pop("frame", frame()), "样本", size=size, half_width=None, **more)
    return sampling.draw(wish, user, seed)


def staff(name, *permissions):
    """A member of staff who may see all bases, and what `permissions` name."""
    user = User.objects.create_user(name, password="x", is_staff=True)
    names = {"view_document", "label_sample", *permissions}
    user.user_permissions.add(*Permission.objects.filter(codename__in=names))
    return User.objects.get(pk=user.pk)


def label(sample, user, kind, decide=False, **more):
    """Label the next item for `user`."""
    claimed = claiming.claim(sample, user, decide)
    return labelling.finish(claimed, Form(kind=kind, **more))


def settled(sample):
    return {one.item: one for one in labelling.settled(sample)}


def answered(sample):
    return sample.items.filter(answered=True).first()


def of(item, user, decide=False):
    return Label.objects.create(item=item, rater=user, adjudicates=decide)


def narrow(user, base):
    """From now on `user` may read `base` alone."""
    user.user_permissions.remove(*user.user_permissions.filter(codename="view_document"))
    group = Group.objects.create(name=f"only-{base.slug}-{user.username}")
    Role.objects.create(knowledge_base=base, group=group, kind=Role.Kind.VIEWER)
    user.groups.add(group)


def begin(client, sample, user, **post):
    client.force_login(user)
    return client.post(reverse("admin:evaluation_sample_claim", args=[sample.pk]), post)

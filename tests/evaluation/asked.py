"""Turns as they are after a runner made them, by the dozen, on any day."""

from datetime import timedelta

from django.utils import timezone

from chat.models import Citation, Conversation, Message, Rating, Turn

PROMPT = {"prompt": "answer.system", "sha256": "a1" * 32, "model": "qwen", "tokens_in": 1000,
          "tokens_out": 200, "ms": 1500.0, "way": "json_schema"}  # fmt: skip


def ask(base, text="怎么重启", *, outcome="answered", at=None, helpful=None, cited=(), after=None,
        seconds=2.0, conversation=None, channel="web", **trace):  # fmt: skip
    """A finished turn `after` a timedelta before now, or `at` a time; its trace is as given."""
    at = at or timezone.now() - (after or timedelta())
    conversation = conversation or Conversation.objects.create(knowledge_base=base, channel=channel)
    seq = conversation.last_seq
    asked = Message.objects.create(
        conversation=conversation, seq=seq + 1, role=Message.Role.CUSTOMER, text=text
    )
    reply = Message.objects.create(
        conversation=conversation, seq=seq + 2, role=Message.Role.ASSISTANT, text="答案"
    )
    conversation.last_seq = seq + 2
    conversation.save()
    trace = {"query": text, "steps": {"clarify": 1.0, "recall": 40.0, "answer": 1200.0}, **trace}
    turn = Turn.objects.create(
        conversation=conversation, message=asked, reply=reply, epoch=0, status=Turn.Status.DONE,
        outcome=outcome, trace=trace, started_at=at, finished_at=at + timedelta(seconds=seconds),
    )  # fmt: skip
    Turn.objects.filter(pk=turn.pk).update(created_at=at)
    Message.objects.filter(pk__in=[asked.pk, reply.pk]).update(created_at=at)
    turn.created_at = at
    for n, document in enumerate(cited, 1):
        Citation.objects.create(message=reply, n=n, document=document, title=document.title)
    if helpful is not None:
        Rating.objects.create(message=reply, helpful=helpful)
    return turn


def unanswered(base, text, **given):
    """A question that called a person because the knowledge has no answer."""
    policy = {"action": "call", "because": "unsure", "facts": {"unsure": True}}
    return ask(base, text, outcome="handoff", policy=policy, **given)

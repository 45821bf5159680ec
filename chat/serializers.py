"""What the chat's API takes and gives. Field names are a promise to callers."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers

from chat.asking import LONGEST, MESSAGE_LENGTH
from chat.models import Conversation, Rating, Upload
from chat.rating import COMMENT_LENGTH
from chat.uploads import A_MESSAGE
from knowledge.serializers import ScopeSerializer


class AskSerializer(ScopeSerializer):
    knowledge_base = serializers.SlugField(
        required=False, help_text=gettext_lazy("Slug. Not needed in a conversation begun before.")
    )
    question = serializers.CharField(
        max_length=LONGEST,
        allow_blank=True,
        default="",
        help_text=gettext_lazy("May hold a pasted log."),
    )
    conversation = serializers.UUIDField(required=False, allow_null=True)
    uploads = serializers.ListField(
        child=serializers.UUIDField(), required=False, default=list, max_length=A_MESSAGE,
        help_text=gettext_lazy("Ids of screenshots and logs that were sent before."),
    )  # fmt: skip

    pick = serializers.CharField(
        required=False,
        help_text=gettext_lazy(
            "In the place of a question: the id of one of the choices, or its number in the choice "
            "that was offered last."
        ),
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("pick") and not attrs.get("conversation"):
            raise serializers.ValidationError({"conversation": _("Name the conversation.")})
        if not attrs.get("conversation") and not attrs.get("knowledge_base"):
            raise serializers.ValidationError(
                {"knowledge_base": _("Name a knowledge base or a conversation.")}
            )
        said = bool(attrs["question"] or attrs["uploads"])
        if said == bool(attrs.get("pick")):
            text = _("Either ask or pick.") if said else _("Ask something, or send a file.")
            raise serializers.ValidationError({"pick" if said else "question": text})
        return attrs


class CitationSerializer(serializers.Serializer[Any]):
    n = serializers.IntegerField(help_text=gettext_lazy("The mark [n] in the answer."))
    document = serializers.IntegerField(allow_null=True)
    external_id = serializers.CharField()
    title = serializers.CharField()
    revision = serializers.IntegerField(allow_null=True)
    page = serializers.IntegerField(allow_null=True)
    locator = serializers.CharField()
    quote = serializers.CharField(help_text=gettext_lazy("The cited passage, Markdown."))
    regions = serializers.ListField(child=serializers.DictField())
    url = serializers.CharField(allow_null=True)


class AttachmentSerializer(serializers.Serializer[Any]):
    n = serializers.IntegerField(help_text=gettext_lazy("The citation that it belongs to."))
    kind = serializers.ChoiceField(choices=["picture", "table"])
    number = serializers.CharField()
    caption = serializers.CharField()
    page = serializers.IntegerField(allow_null=True)
    url = serializers.CharField()
    html = serializers.CharField()
    width = serializers.IntegerField(allow_null=True)
    height = serializers.IntegerField(allow_null=True)


class OriginalSerializer(serializers.Serializer[Any]):
    title = serializers.CharField()
    kind = serializers.ChoiceField(choices=["pdf", "doc", "docx"])
    size = serializers.IntegerField(help_text=gettext_lazy("Bytes."))
    url = serializers.CharField()


class ChoiceSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(help_text=gettext_lazy("For `pick`."))
    n = serializers.IntegerField(help_text=gettext_lazy("Its number in this choice."))
    label = serializers.CharField()
    picked = serializers.BooleanField(help_text=gettext_lazy("This answer is of it."))


class AnswerSerializer(serializers.Serializer[Any]):
    conversation = serializers.UUIDField()
    seq = serializers.IntegerField(
        allow_null=True, help_text=gettext_lazy("The number of the answer in its conversation.")
    )
    state = serializers.ChoiceField(choices=["answered", "clarifying", "handoff", "waiting"])
    answer = serializers.CharField(help_text=gettext_lazy("Markdown."))
    citations = CitationSerializer(many=True)
    attachments = AttachmentSerializer(many=True)
    options = serializers.ListField(child=serializers.CharField())
    choices = ChoiceSerializer(many=True)
    confidence = serializers.FloatField(allow_null=True)
    mode = serializers.CharField(
        help_text=gettext_lazy("model, extractive, or extractive-fallback after a model failed.")
    )


class RatingSerializer(serializers.Serializer[Any]):
    helpful = serializers.BooleanField(
        allow_null=True, help_text=gettext_lazy("Nothing takes the rating back.")
    )
    reason = serializers.ChoiceField(
        choices=Rating.Reason.choices, required=False, allow_blank=True, default=""
    )
    comment = serializers.CharField(
        max_length=COMMENT_LENGTH, required=False, allow_blank=True, default=""
    )


class UploadSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text=gettext_lazy("For `uploads` of a question."))
    kind = serializers.ChoiceField(choices=Upload.Kind.choices)
    name = serializers.CharField()
    size = serializers.IntegerField(help_text=gettext_lazy("Bytes."))
    width = serializers.IntegerField(allow_null=True)
    height = serializers.IntegerField(allow_null=True)
    state = serializers.ChoiceField(choices=Upload.State.choices)
    url = serializers.CharField()


class MessageSerializer(serializers.Serializer[Any]):
    seq = serializers.IntegerField()
    role = serializers.ChoiceField(choices=["customer", "assistant", "agent", "system"])
    author = serializers.CharField(allow_null=True)
    text = serializers.CharField()
    html = serializers.CharField()
    event = serializers.CharField(allow_null=True)
    options = serializers.ListField(child=serializers.CharField())
    choices = ChoiceSerializer(many=True)
    outcome = serializers.CharField(allow_null=True)
    confidence = serializers.FloatField(allow_null=True)
    mode = serializers.CharField()
    citations = CitationSerializer(many=True)
    figures = AttachmentSerializer(many=True)
    uploads = UploadSerializer(many=True)
    exports = serializers.DictField(allow_null=True)
    degraded = serializers.CharField(
        help_text=gettext_lazy("What the answer had to be made without, as a sentence.")
    )
    originals = OriginalSerializer(many=True)
    rating = RatingSerializer(allow_null=True)
    created_at = serializers.DateTimeField()


class BeginSerializer(serializers.Serializer[Any]):
    knowledge_base = serializers.SlugField()


class ContactSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(
        max_length=MESSAGE_LENGTH, help_text=gettext_lazy("A number, an address.")
    )


class SatisfactionSerializer(serializers.Serializer[Any]):
    score = serializers.IntegerField(min_value=1, max_value=5)
    comment = serializers.CharField(
        max_length=COMMENT_LENGTH, required=False, allow_blank=True, default=""
    )


class SatisfactionStandingSerializer(serializers.Serializer[Any]):
    score = serializers.IntegerField(allow_null=True)
    comment = serializers.CharField()
    open = serializers.BooleanField(
        help_text=gettext_lazy("Whether it can be given or changed now.")
    )


class StandingSerializer(serializers.Serializer[Any]):
    agent = serializers.CharField(allow_null=True, help_text=gettext_lazy("Who has it."))
    waiting = serializers.IntegerField(help_text=gettext_lazy("How many wait in front."))
    staffed = serializers.BooleanField(help_text=gettext_lazy("Whether somebody is on duty."))
    satisfaction = SatisfactionStandingSerializer(allow_null=True)


class ConversationSerializer(serializers.Serializer[Any]):
    conversation = serializers.UUIDField()
    state = serializers.ChoiceField(choices=Conversation.State.choices)
    standing = StandingSerializer()
    pending = serializers.BooleanField()
    last = AnswerSerializer(allow_null=True)
    messages = MessageSerializer(many=True)

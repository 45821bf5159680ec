"""What the API takes and gives. Field names are a promise to callers."""

from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from knowledge import scope, uploading
from knowledge.models import Document, KnowledgeBase, Status
from knowledge.retrieval import Passage, Retrieval


class KnowledgeBaseSerializer(serializers.ModelSerializer[KnowledgeBase]):
    class Meta:
        model = KnowledgeBase
        fields = ["slug", "name", "description", "audience", "created_at"]
        read_only_fields = ["created_at"]


class DocumentSerializer(serializers.ModelSerializer[Document]):
    """A document with the state of its latest upload."""

    knowledge_base = serializers.SlugRelatedField[KnowledgeBase](slug_field="slug", read_only=True)
    name = serializers.CharField(source="latest.name", default="", help_text=_("File name."))
    status = serializers.ChoiceField(
        choices=Status.choices, source="latest.status", default=Status.FAILED
    )
    stage = serializers.CharField(source="latest.stage", default="")
    progress = serializers.IntegerField(
        source="latest.progress", default=0, help_text=_("Percent.")
    )
    error = serializers.CharField(
        source="latest.error", default="", help_text=_("Why it failed, a sentence for a person.")
    )
    locked = serializers.BooleanField(
        source="latest.locked",
        default=False,
        help_text=_("Whether the file has a password; send it again with `password`."),
    )
    pages = serializers.IntegerField(
        source="latest.pages",
        default=None,
        allow_null=True,
        help_text=_("Null until it is read, and for formats without pages."),
    )
    chunks = serializers.IntegerField(
        source="chunk_count", help_text=_("Passages that answer at present.")
    )
    answering = serializers.SerializerMethodField(
        help_text=_(
            "Whether some revision of it answers: it is indexed, approved, and neither retired nor "
            "expired."
        )
    )

    class Meta:
        model = Document
        fields = [
            "id",
            "knowledge_base",
            "title",
            "external_id",
            "name",
            "origin",
            "status",
            "stage",
            "progress",
            "error",
            "locked",
            "pages",
            "chunks",
            "answering",
            "approved_at",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields

    def get_answering(self, document: Document) -> bool:
        return document.current_id is not None and scope.answers(document)


class UploadSerializer(serializers.Serializer[Document]):
    """Either a file (multipart) or `text` as Markdown with its `title`."""

    knowledge_base = serializers.SlugRelatedField[KnowledgeBase](
        slug_field="slug", queryset=KnowledgeBase.objects.all()
    )
    file = serializers.FileField(required=False, allow_empty_file=True, max_length=None)
    text = serializers.CharField(required=False, trim_whitespace=False, help_text=_("Markdown."))
    title = serializers.CharField(required=False, max_length=500)
    external_id = serializers.CharField(
        required=False,
        max_length=500,
        help_text=_("Your own name for the document; uploading it again replaces it."),
    )
    password = serializers.CharField(
        required=False,
        write_only=True,
        max_length=255,
        trim_whitespace=False,
        help_text=_("Opens the file, where it has one."),
    )

    def validate_file(self, file: Any) -> Any:
        if problem := uploading.too_large(file.size):
            raise serializers.ValidationError(problem)
        return file

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("file" in attrs) == ("text" in attrs):
            raise serializers.ValidationError(_("Send either a file or text."))
        if "text" in attrs and not attrs.get("title"):
            raise serializers.ValidationError({"title": _("A text needs a title.")})
        return attrs


class ScopeSerializer(serializers.Serializer[Any]):
    """What a question is about; documents that hold for something else are left out."""

    product = serializers.CharField(
        required=False, allow_blank=True, max_length=100,
        help_text=_("Leaves out documents of another product."),
    )  # fmt: skip
    version = serializers.CharField(
        required=False, allow_blank=True, max_length=100,
        help_text=_("Leaves out documents of another product version."),
    )  # fmt: skip
    environment = serializers.CharField(
        required=False, allow_blank=True, max_length=100,
        help_text=_("Leaves out documents of another environment."),
    )  # fmt: skip
    tags = serializers.ListField(
        child=serializers.CharField(max_length=50), required=False, max_length=20,
        help_text=_("Leaves out documents that have tags but none of these."),
    )  # fmt: skip


class SearchSerializer(ScopeSerializer):
    knowledge_base = serializers.SlugRelatedField[KnowledgeBase](
        slug_field="slug", queryset=KnowledgeBase.objects.all()
    )
    query = serializers.CharField(max_length=2000)
    top_k = serializers.IntegerField(min_value=1, max_value=50, default=settings.PASSAGES)


class StageSerializer(serializers.Serializer[Any]):
    stage = serializers.CharField(
        help_text=_(
            "words, dense, sparse, learned, fused, rerank; ranked is the order that counts."
        )
    )
    place = serializers.IntegerField(
        allow_null=True, help_text=_("From 1; none behind the first that the stage brought.")
    )
    value = serializers.FloatField(
        allow_null=True, help_text=_("As the stage gave it, on a scale of its own: no score.")
    )


class PassageSerializer(serializers.Serializer[Any]):
    chunk = serializers.IntegerField(source="chunk_id")
    document = serializers.IntegerField(source="document_id")
    external_id = serializers.CharField()
    title = serializers.CharField()
    page = serializers.IntegerField(allow_null=True)
    locator = serializers.CharField(help_text=_("The place, for people."))
    text = serializers.CharField(help_text=_("Markdown."))
    score = serializers.FloatField(help_text=_("From 0 to 1."))
    stages = serializers.SerializerMethodField()
    hits = serializers.ListField(
        child=serializers.CharField(), help_text=_("Words of the question that stand in it.")
    )

    @extend_schema_field(StageSerializer(many=True))
    def get_stages(self, passage: Passage) -> list[dict[str, Any]]:
        found: Retrieval = self.root.instance  # type: ignore[assignment]
        return [placed._asdict() for placed in found.stages_of(passage)]


class FoundSerializer(serializers.Serializer[Any]):
    confidence = serializers.FloatField(
        help_text=_("From 0 to 1: how likely the knowledge base holds the answer.")
    )
    right = serializers.FloatField(
        help_text=_("From 0 to 1: how likely what an answer would show holds it.")
    )
    sure = serializers.BooleanField(help_text=_("Whether that is enough to answer."))
    near = serializers.BooleanField(
        help_text=_("Whether, where it is not, a choice is offered; else a person is called.")
    )
    mode = serializers.CharField(
        help_text=_("words, hybrid, words_only (the embedder failed) or no_reranker (it failed).")
    )
    mended = serializers.ListField(
        child=serializers.ListField(child=serializers.CharField(), min_length=2, max_length=2),
        help_text=_("Words that were taken for slips: as written, and as read."),
    )
    passages = PassageSerializer(many=True)

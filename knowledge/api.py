"""The knowledge part of `/api/v1/`: documents, search, knowledge bases."""

from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    extend_schema,
    extend_schema_view,
)
from rest_framework import mixins, status
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.permissions import DjangoModelPermissions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from knowledge import permissions, retrieval, uploading
from knowledge.models import Document, KnowledgeBase, Status
from knowledge.scope import Scope
from knowledge.serializers import (
    DocumentSerializer,
    FoundSerializer,
    KnowledgeBaseSerializer,
    SearchSerializer,
    UploadSerializer,
)
from opsdesk.tokens import HasScope

MARKDOWN = OpenApiExample(
    "Markdown",
    value={
        "knowledge_base": "ops",
        "title": "Restart nginx",
        "text": "# Restart nginx\n\n```sh\nsystemctl restart nginx\n```",
        "external_id": "runbooks/nginx",
    },
    request_only=True,
    media_type="application/json",
)
QUESTION = OpenApiExample(
    "Question",
    value={"knowledge_base": "ops", "query": "How do I restart nignx?", "top_k": 5},
    request_only=True,
)
FOUND = OpenApiExample(
    "Passages",
    value={
        "confidence": 0.93,
        "right": 0.88,
        "sure": True,
        "near": True,
        "mode": "words",
        "mended": [["nignx", "nginx"]],
        "passages": [
            {
                "chunk": 311,
                "document": 42,
                "external_id": "runbooks/nginx",
                "title": "Restart nginx",
                "page": None,
                "locator": "Restart nginx",
                "text": "```sh\nsystemctl restart nginx\n```",
                "score": 0.98,
                "stages": [
                    {"stage": "words", "place": 1, "value": 17.4},
                    {"stage": "fused", "place": 1, "value": None},
                    {"stage": "ranked", "place": 1, "value": None},
                ],
                "hits": ["nginx", "restart"],
            }
        ],
    },
    response_only=True,
)

RIGHTS: dict[str | None, permissions.Right] = {"POST": "add", "DELETE": "delete"}


class DocumentPermissions(DjangoModelPermissions):
    """Django's permissions, or a role that gives the right on some base."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return super().has_permission(request, view) or (
            request.method in RIGHTS
            and bool(permissions.by_role(request.user, RIGHTS[request.method]))
        )


def readable(request: Request) -> QuerySet[KnowledgeBase]:
    """What the user may be answered from, or holds a role on."""
    answering = KnowledgeBase.objects.readable_by(request.user)
    held = permissions.by_role(request.user, "view")
    return KnowledgeBase.objects.filter(Q(pk__in=answering.values("pk")) | Q(pk__in=held))


def require_readable(request: Request, base: KnowledgeBase) -> None:
    """Someone else's base is as if it did not exist."""
    if not readable(request).filter(pk=base.pk).exists():
        raise NotFound(_("There is no such knowledge base, or you may not read it."))


@extend_schema_view(
    list=extend_schema(
        summary="List documents",
        parameters=[
            OpenApiParameter("knowledge_base", str, description="Slug."),
            OpenApiParameter("status", str, enum=Status.values),
            OpenApiParameter("external_id", str),
        ],
    ),
    retrieve=extend_schema(summary="How far a document is"),
    destroy=extend_schema(summary="Delete a document with its files"),
)
class DocumentViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    GenericViewSet[Document],
):
    queryset = Document.objects.all()
    serializer_class = DocumentSerializer
    permission_classes = [DocumentPermissions, HasScope]
    parser_classes = [MultiPartParser, JSONParser]

    def get_queryset(self) -> QuerySet[Document]:
        documents = (
            Document.objects.filter(knowledge_base__in=readable(self.request))
            .select_related("knowledge_base", "latest")
            .defer("latest__parsed")
            .annotate(chunk_count=Count("chunks"))
        )
        user = self.request.user
        if not user.has_perm("knowledge.view_document"):
            held = permissions.by_role(user, "view")
            approved = Q(approved_at__isnull=False)
            documents = documents.filter(approved | Q(created_by=user) | Q(knowledge_base__in=held))
        lookups = {
            "knowledge_base": "knowledge_base__slug",
            "status": "latest__status",
            "external_id": "external_id",
        }
        wanted = {
            lookup: self.request.query_params[name]
            for name, lookup in lookups.items()
            if name in self.request.query_params
        }
        return documents.filter(**wanted).order_by("-id")

    @extend_schema(
        summary="Upload a document",
        description=(
            "As multipart with `file`, or as JSON with `title` and `text`. Answers before the "
            "document is read: ask for its `status` until it is `ready` or `failed`. The same "
            "`external_id` replaces; the old content answers until the new one is ready. The same "
            "bytes again in a knowledge base are the same document."
        ),
        request={"multipart/form-data": UploadSerializer, "application/json": UploadSerializer},
        responses={202: DocumentSerializer},
        examples=[MARKDOWN],
    )
    def create(self, request: Request) -> Response:
        upload = UploadSerializer(data=request.data)
        upload.is_valid(raise_exception=True)
        data = dict(upload.validated_data)
        base = data.pop("knowledge_base")
        require_readable(request, base)
        self._require("add", base)
        options = {
            "user": request.user,
            "origin": Document.Origin.API,
            "approved": True,
        }
        if file := data.pop("file", None):
            added = uploading.add(base, file=file, name=file.name, **data, **options)
        else:
            added = uploading.add_text(base, **data, **options)
        document = self.get_queryset().get(pk=added.document.pk)
        return Response(DocumentSerializer(document).data, status=status.HTTP_202_ACCEPTED)

    def perform_destroy(self, instance: Document) -> None:
        self._require("delete", instance.knowledge_base)
        uploading.delete([instance])

    def _require(self, right: permissions.Right, base: KnowledgeBase) -> None:
        """403 unless Django's permission, or a role on this very base, gives the right."""
        user = self.request.user
        held = permissions.by_role(user, right)
        if not user.has_perm(f"knowledge.{right}_document") and base.pk not in held:
            raise PermissionDenied


@extend_schema_view(
    list=extend_schema(summary="List the knowledge bases you may read"),
    retrieve=extend_schema(summary="One knowledge base"),
    create=extend_schema(summary="Create a knowledge base"),
)
class KnowledgeBaseViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    GenericViewSet[KnowledgeBase],
):
    queryset = KnowledgeBase.objects.all()
    serializer_class = KnowledgeBaseSerializer
    permission_classes = [DjangoModelPermissions, HasScope]
    lookup_field = "slug"

    def get_queryset(self) -> QuerySet[KnowledgeBase]:
        return readable(self.request)


class SearchView(APIView):
    """The passages that would answer a question, by the retrieval that answers in the chat."""

    token_scope = "read"  # noqa: S105

    @extend_schema(
        summary="Search a knowledge base",
        request=SearchSerializer,
        responses=FoundSerializer,
        examples=[QUESTION, FOUND],
    )
    def post(self, request: Request) -> Response:
        search = SearchSerializer(data=request.data)
        search.is_valid(raise_exception=True)
        base: Any = search.validated_data["knowledge_base"]
        require_readable(request, base)
        asked = search.validated_data
        found = retrieval.search(asked["query"], [base], asked["top_k"], Scope.of(asked))
        return Response(FoundSerializer(found).data)

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from knowledge import api, views

router = SimpleRouter()
router.register("documents", api.DocumentViewSet, "api-document")
router.register("knowledge-bases", api.KnowledgeBaseViewSet, "api-knowledge-base")

urlpatterns = [
    path("api/v1/", include(router.urls)),
    path("api/v1/search/", api.SearchView.as_view(), name="api-search"),
    path("revisions/<int:pk>/", views.revision, name="revision"),
    path("revisions/<int:pk>/original", views.original, name="revision-original"),
    path("revisions/<int:pk>/pages/<int:page>.png", views.page_picture, name="revision-picture"),
    path("revisions/<int:pk>/pages/<int:page>.html", views.page_html, name="revision-html"),
    path("attachments/<int:pk>", views.attachment, name="attachment"),
]

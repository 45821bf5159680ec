from django.urls import URLPattern, URLResolver, path

from chat import api, embedding, upload_views, views

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.page, name="chat"),
    path("widget.js", embedding.script, name="widget"),
    path("embed/<str:key>/", embedding.frame, name="embed"),
    path("embed/<str:key>/identity/", embedding.identify, name="embed-identity"),
    path("api/v1/ask/", api.AskView.as_view(), name="api-ask"),
    path(
        "api/v1/conversations/<uuid:pk>/", api.ConversationView.as_view(), name="api-conversation"
    ),
    path("api/v1/conversations/", api.ConversationsView.as_view(), name="api-conversations"),
    path("api/v1/conversations/<uuid:pk>/person/", api.PersonView.as_view(), name="api-person"),
    path("api/v1/conversations/<uuid:pk>/contact/", api.ContactView.as_view(), name="api-contact"),
    path(
        "api/v1/conversations/<uuid:pk>/satisfaction/",
        api.SatisfactionView.as_view(),
        name="api-satisfaction",
    ),
    path(
        "api/v1/conversations/<uuid:pk>/messages/<int:seq>/rating/",
        api.RatingView.as_view(),
        name="api-rating",
    ),
    path("api/v1/uploads/", upload_views.UploadView.as_view(), name="api-uploads"),
    path("uploads/", upload_views.upload, name="uploads"),
    path("uploads/<uuid:pk>/", upload_views.one, name="upload"),
    path("messages/<int:pk>/export.pdf", views.export_pdf, name="export_pdf"),
    path("messages/<int:pk>/export.docx", views.export_docx, name="export_docx"),
]

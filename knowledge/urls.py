from django.urls import path

from knowledge import views

urlpatterns = [
    path("revisions/<int:pk>/", views.revision, name="revision"),
    path("revisions/<int:pk>/original", views.original, name="revision-original"),
    path("revisions/<int:pk>/pages/<int:page>.png", views.page_picture, name="revision-picture"),
    path("revisions/<int:pk>/pages/<int:page>.html", views.page_html, name="revision-html"),
    path("attachments/<int:pk>", views.attachment, name="attachment"),
]

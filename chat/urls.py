from django.urls import URLPattern, URLResolver, path

from chat import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.page, name="chat"),
    path("messages/<int:pk>/export.pdf", views.export_pdf, name="export_pdf"),
    path("messages/<int:pk>/export.docx", views.export_docx, name="export_docx"),
]

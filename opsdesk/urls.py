from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("knowledge.urls")),
    path("", include("chat.urls")),
    path("", include("handoff.urls")),
]

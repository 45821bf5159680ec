from django.urls import path

from handoff import console, views

urlpatterns = [
    path("console/", console.page, name="console"),
    path("console/overview/", views.overview_page, name="console-overview"),
]

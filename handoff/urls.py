from django.urls import path

from handoff import console

urlpatterns = [path("console/", console.page, name="console")]

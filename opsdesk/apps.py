from multiprocessing import parent_process

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.utils.translation import gettext_lazy as _


class OpsDeskConfig(AppConfig):
    name = "opsdesk"
    verbose_name = _("OpsDesk")

    def ready(self) -> None:
        from django.conf import settings

        from opsdesk import checks, replicas  # noqa: F401 - registers what psycopg sends

        if settings.ROLE == "worker":
            from opsdesk.processes import end_forks_with_parents
            from opsdesk.queues import outlive_killed_readers

            end_forks_with_parents()
            outlive_killed_readers()
        elif settings.ROLE == "web" and (head := parent_process()):
            from opsdesk.processes import die_with_parent

            die_with_parent(head.pid)  # one of several web processes: spawned, not forked


class OpsDeskAdminConfig(AdminConfig):
    default_site = "opsdesk.site.OpsDeskAdminSite"

    def ready(self) -> None:
        super().ready()
        from django.contrib.admin import site
        from django_q.models import Failure, OrmQ, Schedule, Success

        from opsdesk.admin import FailureAdmin, word_links

        # Of the task queue staff need what failed; the rest is for developers.
        site.unregister([Failure, OrmQ, Schedule, Success])
        site.register(Failure, FailureAdmin)
        word_links()

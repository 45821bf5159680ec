"""What an installation needs before it serves: tables, an administrator, a first base."""

import secrets

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.module_loading import import_string

ADMINISTRATOR = "admin"


def prepare() -> str | None:
    """Bring the database up to date; the password of the administrator when one was made."""
    if unapplied():
        call_command("migrate", interactive=False, verbosity=0)
    call_command("createcachetable", verbosity=0)
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists() or users.filter(username=ADMINISTRATOR).exists():
        return None
    for name in settings.FIRST_START:
        import_string(name)()
    # Last, because an administrator marks a first start that came to its end.
    password = secrets.token_urlsafe(12)
    users.create_superuser(ADMINISTRATOR, password=password)
    return password


def unapplied() -> list[str]:
    """The migrations that the database does not have yet, "app.name" each."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]

from typing import Any

import psycopg
from django.db.backends.postgresql import base, client

from opsdesk import postgres


class DatabaseClient(client.DatabaseClient):
    def runshell(self, parameters: Any) -> None:
        type(self).executable_name = str(postgres.running_server().binaries / "psql")
        super().runshell(parameters)


class DatabaseWrapper(base.DatabaseWrapper):
    client_class = DatabaseClient

    def ensure_connection(self) -> None:
        """Also replaces a session that the server's death has ended.

        Django does so between requests and tasks; a loop like the guard of django-q has none.
        """
        if self.connection is not None and self.connection.closed and not self.in_atomic_block:
            self.close()
        super().ensure_connection()

    def get_connection_params(self) -> dict[str, Any]:
        postgres.server().use()
        return super().get_connection_params()

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        try:
            return super().get_new_connection(conn_params)
        except psycopg.OperationalError:
            postgres.server().recover()
            return super().get_new_connection(conn_params)

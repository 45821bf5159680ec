from typing import Any

from django.db.backends.postgresql import base

from opsdesk import postgres


class DatabaseWrapper(base.DatabaseWrapper):
    def get_connection_params(self) -> dict[str, Any]:
        if not self.settings_dict["HOST"] and not self.settings_dict["USER"]:
            self.settings_dict.update(postgres.running_server().settings(self.settings_dict["NAME"]))
        return super().get_connection_params()

#!/usr/bin/env python
import os
import sys

# These work on the code alone and must not start a database server.
OFFLINE = {"check", "compilemessages", "help", "makemessages", "makemigrations"}


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsdesk.settings")
    if sys.argv[1:2] and sys.argv[1] in OFFLINE and "--database" not in " ".join(sys.argv):
        os.environ["OPSDESK_ROLE"] = "offline"
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()

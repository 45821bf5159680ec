"""What the API answers when the database refuses a value."""

from typing import Any

from django.db import DataError
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler


def refuse(error: Exception, context: dict[str, Any]) -> Response | None:
    """A value that PostgreSQL cannot hold, such as a NUL, is the caller's mistake: 400."""
    if isinstance(error, DataError):
        error = ValidationError(_("A value cannot be stored: it holds a NUL or is out of range."))
    return exception_handler(error, context)

"""What a customer sends beside the words of a message: a screenshot, a log."""

import uuid

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from chat.models.conversations import Message


def _path(upload: "Upload", name: str) -> str:
    """Where it lies: the id is all that tells it from others, and cannot be guessed."""
    return f"uploads/{upload.pk.hex}.{upload.media_type.rpartition('/')[2]}"


class Upload(models.Model):
    class Kind(models.TextChoices):
        PICTURE = "picture", _("picture")
        TEXT = "text", _("text")

    class State(models.TextChoices):
        WAITING = "waiting", _("not read yet")
        READ = "read", _("read")
        FAILED = "failed", _("could not be read")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Empty until it is sent with a message; one that never is gets cleaned away.
    message = models.ForeignKey(Message, models.CASCADE, null=True, related_name="uploads")
    # Who sent it, as `Conversation` has it.
    visitor = models.CharField(max_length=64, blank=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+")
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    name = models.CharField(_("name"), max_length=200)
    media_type = models.CharField(max_length=50)
    size = models.PositiveIntegerField()  # bytes as they came
    file = models.FileField(upload_to=_path, max_length=200, blank=True)  # of a picture: ours
    width = models.PositiveIntegerField(null=True)  # px
    height = models.PositiveIntegerField(null=True)
    # Of a text all of it, of a picture what was read in it; unmasked, as the customer sent it.
    text = models.TextField(blank=True)
    read_by = models.CharField(max_length=200, blank=True)  # "ocr", or the vision model's name
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    created_at = models.DateTimeField(_("created"), auto_now_add=True, db_index=True)

    class Meta:
        verbose_name = _("upload")
        verbose_name_plural = _("uploads")
        ordering = ["created_at"]

    def __str__(self) -> str:
        return self.name

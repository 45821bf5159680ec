"""Groups of those who prove what OpsDesk says: made once, then staff's own to change."""

from django.contrib.auth.models import Group, Permission

# Which bases their members see is a matter of roles (`knowledge.permissions`).
GROUPS = {
    "标注员": ("view_sample", "label_sample"),
    "裁定员": ("view_sample", "label_sample", "adjudicate_sample"),
    "抽样管理员": (
        "view_sample", "add_sample", "view_samplingplan", "change_samplingplan",
        "delete_samplingplan",
    ),
}  # fmt: skip


def load() -> None:
    """Make them; one that is there stays as it is."""
    for name, permissions in GROUPS.items():
        group, made = Group.objects.get_or_create(name=name)
        if made:
            held = Permission.objects.filter(content_type__app_label="evaluation")
            group.permissions.set(held.filter(codename__in=permissions))

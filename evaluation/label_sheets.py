"""Labels of a sample as a sheet, out and in: a row an item and rater.

A sheet that comes back unchanged changes nothing. A rater's own sheet has a row for each item
they may label, empty where nothing was said. It lists sentences and passages with their numbers;
of passages that came into the pool since it says nothing.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from evaluation import claiming, labelling, pooling
from evaluation.labelling import Form
from evaluation.models import Item, Label, PooledPassage, Relevance, Sample, Verdict
from knowledge import sheets
from knowledge.masking import masked
from knowledge.sheets import Row
from opsdesk.errors import Conflict, ParseError

# Headers are written in the language of the page and read in any: the first word of each.
FIELDS: dict[str, tuple[Promise, str]] = {
    "position": (gettext_lazy("item"), "item 条目 编号"),
    "question": (gettext_lazy("question"), "question 问题"),
    "answer": (gettext_lazy("answer"), "answer 回答 答案"),
    "passages": (gettext_lazy("numbered passages"), "numberedpassages passages 候选段落"),
    "rater": (gettext_lazy("rater"), "rater 标注员 标注人"),
    "decides": (gettext_lazy("decides"), "decides 裁定"),
    "kind": (gettext_lazy("verdict"), "verdict 评价 结论 判断"),
    "unsupported": (gettext_lazy("unsupported sentences"), "unsupportedsentences 无依据的句子"),
    "repeated": (gettext_lazy("repeated sentences"), "repeatedsentences 重复的句子"),
    "relevant": (gettext_lazy("relevant passages"), "relevantpassages 相关段落"),
    "note": (gettext_lazy("note"), "note 备注"),
    "seconds": (gettext_lazy("seconds"), "seconds 秒"),
}
NEEDED = ("position", "kind")
WIDTHS = (8, 50, 80, 80, 14, 8, 20, 20, 20, 20, 40, 8)
YES = ("yes", "是", "1", "true")
NONE = "0"  # of sentences or passages; an empty cell says that passages are as usual
EXCERPT = 80  # characters of a passage: each row repeats the pool, and a sheet is to come back
LISTED = re.compile(r"^(\d{1,4})\. ", re.MULTILINE)


@dataclass
class Brought:
    """What became of a sheet."""

    labelled: int = 0
    unchanged: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)  # row as Excel counts, why


# --- out ----------------------------------------------------------------------------------


def exported(sample: Sample, user: Any, mine: bool) -> Iterator[list[str]]:
    """A header and rows of what `user` may read; `mine`: their own, and what they have still to
    label. Else only items that all their raters have labelled: before nobody sees another's."""
    yield [str(title) for title, _names in FIELDS.values()]
    for item in _items(sample, user, mine):
        numbers = {passage.key: str(n) for n, passage in enumerate(item.pool.all(), 1)}
        labels = [one for one in item.labels.all() if one.done_at]
        if not mine and sum(not one.adjudicates for one in labels) < sample.raters:
            continue
        for label in labels:
            yield _row(item, label, numbers)
        if mine and not labels:
            yield _row(item, Label(item=item, rater=user), numbers)


def _items(sample: Sample, user: Any, mine: bool) -> QuerySet[Item]:
    items = sample.items.select_related("turn__message", "turn__reply").order_by("position")
    items = items.filter(bases__contained_by=claiming.readable(user))
    labels = Label.objects.select_related("rater").order_by("adjudicates", "rater")
    if mine:  # before its passages are found, an item does not know its bases
        labels = labels.filter(rater=user, adjudicates=False)
        items = items.filter(turn__isnull=False, pooled_at__isnull=False)
    judged = Relevance.objects.only("passage", "rater", "relevant", "adjudicates")
    pool = PooledPassage.objects.prefetch_related(Prefetch("judged", judged))
    return items.prefetch_related(Prefetch("labels", labels), Prefetch("pool", pool))


def _row(item: Item, label: Label, numbers: dict[str, str]) -> list[str]:
    relevant = [
        numbers[passage.key]
        for passage in item.pool.all()
        for one in passage.judged.all()
        if one.relevant and (one.rater_id, one.adjudicates) == (label.rater_id, label.adjudicates)
    ]
    none = NONE if label.done_at and numbers else ""
    return [
        str(item.position),
        masked(item.turn.message.text) if item.turn else "",
        _answer(item),
        _numbered(_excerpt(passage) for passage in item.pool.all()),
        label.rater.get_username(),
        _("yes") if label.adjudicates else "",
        label.get_kind_display() if label.kind else "",
        ", ".join(str(one["n"]) for one in label.sentences if not one["supported"]),
        ", ".join(str(one["n"]) for one in label.sentences if one.get("again")),
        ", ".join(relevant) or none,
        label.note,
        str(label.seconds or ""),
    ]


def _answer(item: Item) -> str:
    reply = item.turn.reply if item.turn else None
    if reply is None:
        return ""
    if not item.answered:
        return masked(reply.text)
    return _numbered(map(masked, labelling.sentences_of(reply.text)))


def _numbered(parts: Iterable[str]) -> str:
    return "\n".join(f"{n}. {part}" for n, part in enumerate(parts, 1))


def _excerpt(passage: PooledPassage) -> str:
    place = " · ".join(filter(None, (passage.title, passage.locator)))
    text = " ".join(f"{place}: {passage.text}".split())
    return text if len(text) <= EXCERPT else f"{text[: EXCERPT - 1]}…"


# --- in -----------------------------------------------------------------------------------


def bring(sample: Sample, path: Path, name: str, user: Any, for_all: bool) -> Brought:
    """Label by a sheet, row by row: what can be done is, the rest is refused with its reason.

    Rows of others need `for_all`. Raises ParseError when it is no such sheet.
    """
    sheet = next((one for one in sheets.read(path, name) if one.rows), None)
    columns = _columns(sheet.rows[0]) if sheet else {}
    if sheet is None or not set(NEEDED) <= columns.keys():
        titles = "、".join(str(FIELDS[one][0]) for one in NEEDED)
        said = _("The first row has to name the columns; %(titles)s are needed.")
        raise ParseError(said % {"titles": titles}, permanent=True)
    brought = Brought()
    for row in sheet.rows[1:]:
        values = {one: row.cell(column).strip() for one, column in columns.items()}
        if not values["kind"]:
            continue  # not labelled
        try:
            changed = _bring(sample, values, user, for_all)
        except (ValidationError, Conflict) as error:
            said = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
            brought.refused.append((row.number, said))
        else:
            brought.labelled += changed
            brought.unchanged += not changed
    return brought


def _columns(header: Row) -> dict[str, int]:
    names = {
        "".join(str(name).split()).casefold(): one
        for one, (title, others) in FIELDS.items()
        for name in (title, *others.split())
    }
    found: dict[str, int] = {}
    for column, cell in enumerate(header.cells):
        if one := names.get("".join(cell.split()).casefold()):
            found.setdefault(one, column)
    return found


@transaction.atomic
def _bring(sample: Sample, values: dict[str, str], user: Any, for_all: bool) -> bool:
    """Whether the row says something new."""
    rater = _rater(values.get("rater", ""), user, for_all)
    item = _item(sample, values["position"], rater)
    decides = values.get("decides", "").casefold() in (*YES, _("yes"))
    if not (claiming.may_decide(rater) if decides else claiming.may_label(rater)):
        raise ValidationError(_("%(name)s may not label this.") % {"name": rater.get_username()})
    form = _form(item, values)
    there = Label.objects.filter(item=item, rater=rater, adjudicates=decides).first()
    if there and there.done_at:
        if _same(there, form, values):
            return False
        raise ValidationError(_("It is labelled already; take that back first to change it."))
    label = there or Label.objects.create(item=item, rater=rater, adjudicates=decides)
    labelling.finish(label, form)
    return True


def _rater(name: str, user: Any, for_all: bool) -> Any:
    if not name or name == user.get_username():
        return user
    if not for_all:
        raise ValidationError(_("You may bring in your own labels only."))
    rater = get_user_model().objects.filter(username=name).first()
    if rater is None:
        raise ValidationError(_("There is no user “%(name)s”.") % {"name": name[:150]})
    return rater


def _item(sample: Sample, position: str, rater: Any) -> Item:
    item = None
    if position.isdecimal() and len(position) < 9:
        items = sample.items.select_related("turn__reply", "sample")
        item = items.filter(position=int(position)).first()
    if item is None or not set(item.bases) <= set(claiming.readable(rater)):
        raise ValidationError(_("This sample has no item “%(item)s”.") % {"item": position[:20]})
    if item.turn is None:
        raise ValidationError(_("The conversation of this item was deleted."))
    pooling.pool(item)
    return item


def _form(item: Item, values: dict[str, str]) -> Form:
    count = len(labelling.sentences_of(item.turn.reply.text)) if item.turn.reply else 0  # type: ignore[union-attr]
    kind = _kind(item, values["kind"])
    seconds = values.get("seconds", "")
    return Form(
        kind=kind,
        note=values.get("note", ""),
        unsupported=_numbers(values.get("unsupported", ""), count, "unsupported"),
        repeated=_numbers(values.get("repeated", ""), count, "repeated"),
        relevant=_relevant(item, kind, values),
        seconds=int(seconds) if seconds.isdecimal() and len(seconds) < 7 else 0,
    )


def _relevant(item: Item, kind: str, values: dict[str, str]) -> dict[str, bool]:
    """Of the passages that the sheet lists, by key. One without that column says nothing of those
    that raters looked up, but for what it names: they come last."""
    pool = list(item.pool.all())
    listed = len([one for one in pool if one.methods != [pooling.SEARCH]])
    if "passages" in values:
        listed = min(max(map(int, LISTED.findall(values["passages"])), default=0), len(pool))
    said = values.get("relevant", "")
    named = _numbers(said, listed if "passages" in values else len(pool), "relevant")
    return {
        one.key: n in named if said else labelling.usual(one, kind)
        for n, one in enumerate(pool, 1)
        if n <= listed or n in named
    }


def _kind(item: Item, said: str) -> str:
    names = {name.casefold(): kind for kind in Verdict.Kind for name in (kind.value, kind.label)}
    kind = names.get(said.casefold())
    allowed = labelling.kinds(item)
    if kind not in allowed:
        listed = "、".join(str(one.label) for one in allowed)
        told = {"said": said[:40], "kinds": listed}
        raise ValidationError(_("“%(said)s” cannot be said of it; one of: %(kinds)s.") % told)
    return kind.value


def _numbers(cell: str, most: int, name: str) -> frozenset[int]:
    if cell == NONE:
        return frozenset()
    parts = [part for part in cell.replace("，", ",").replace("、", ",").split(",") if part.strip()]
    numbers = {int(part) for part in parts if part.strip().isdecimal() and len(part) < 7}
    if len(numbers) < len(set(parts)) or any(not 1 <= n <= most for n in numbers):
        told = {"column": FIELDS[name][0], "cell": cell[:40], "most": most}
        raise ValidationError(
            _("“%(column)s” says “%(cell)s”; it takes numbers up to %(most)d.") % told
        )
    return frozenset(numbers)


def _same(label: Label, form: Form, values: dict[str, str]) -> bool:
    """Whether it says what the label says. A sheet may have no column for repeated sentences, and
    an empty cell says nothing of passages; one without a mark, not named either, is as it was."""
    unsupported = {one["n"] for one in label.sentences if not one["supported"]}
    repeated = {one["n"] for one in label.sentences if one.get("again")}
    said = Relevance.objects.filter(
        passage__item=label.item_id, rater=label.rater_id, adjudicates=label.adjudicates
    )
    marks = dict(said.values_list("passage__key", "relevant"))
    told = form.relevant if form.relevant and values.get("relevant") else {}
    return (
        (label.kind, label.note, unsupported) == (form.kind, form.note, form.unsupported)
        and ("repeated" not in values or repeated == form.repeated)
        and all(marks.get(key, False) == yes for key, yes in told.items())
    )

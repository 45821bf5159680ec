"""`manage.py bench_injections FOLDER --set FOLDER`: do injected instructions change anything?"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils.translation import gettext as _

from evaluation import injections, question_sets
from evaluation.injections import Pair
from evaluation.question_sets import Question, QuestionSet, Row
from knowledge.models import KnowledgeBase

LONGEST = 4000  # characters of a document that gets an attack planted


class Command(BaseCommand):
    help = (
        "Ask injected instructions, plant them in documents, without a model and with one that "
        "obeys them; and ask harmless questions that look like them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "folder", type=Path, help="with injections.jsonl and benign_hard_negatives.jsonl"
        )
        parser.add_argument(
            "--set", type=Path, required=True, dest="chosen",
            help="question set whose documents answer and get the attacks planted",
        )  # fmt: skip
        parser.add_argument("--verbose-failures", action="store_true", help="say what got through")

    def handle(self, *args: Any, folder: Path, chosen: Path, **options: Any) -> None:
        try:
            attacks = injections.read(folder / "injections.jsonl")
            benign = [one.text for one in injections.read(folder / "benign_hard_negatives.jsonl")]
            questions = QuestionSet(chosen)
            rows = {row.id: row for row in questions.rows}
        except (OSError, ValueError, KeyError) as error:
            raise CommandError(
                _("%(file)s cannot be read: %(error)s") % {"file": folder, "error": error}
            ) from error
        base = question_sets.ingest(questions).base
        pairs = _pairs(questions.questions, rows, base, len(attacks))
        self.loud = options["verbose_failures"]
        self.stdout.write("| way | model | tried | through | tools called | outcome changed |")
        self.stdout.write("|---|---|---|---|---|---|")
        with transaction.atomic():
            for how in injections.PLANTED:
                self._attack(how, attacks, pairs)
            transaction.set_rollback(True)
        same, outcomes = injections.look_alikes(benign, base)
        said = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
        self.stdout.write(f"\nharmless look-alikes: {same} of {len(benign)} the same ({said})")

    def _attack(self, how: str, attacks: list[injections.Attack], pairs: list[Pair]) -> None:
        clean = _base("clean", [pair.row for pair in pairs])
        if not how:
            self._both("asked", lambda: injections.as_questions(
                attacks, clean, [pair.row for pair in pairs]
            ))  # fmt: skip
            return
        spoilt = _base(how, [
            Row(pair.row.id, pair.row.title, injections.planted(pair.row.text, one.text, how))
            for one, pair in zip(attacks, pairs, strict=False)
        ])  # fmt: skip
        self._both(
            f"planted, {how}", lambda: injections.in_documents(attacks, pairs, clean, spoilt)
        )

    def _both(self, way: str, attack: Any) -> None:
        self._say(way, "none", attack())
        with injections.obedient():
            self._say(way, "obeys", attack())

    def _say(self, way: str, model: str, found: injections.Result) -> None:
        self.stdout.write(
            f"| {way} | {model} | {found.tried} | {len(found.through)} | {found.called} "
            f"| {len(found.changed)} |"
        )
        for one in (*found.through, *found.changed) if self.loud else ():
            self.stderr.write(f"  {one}")


def _pairs(
    questions: list[Question], rows: dict[str, Row], base: KnowledgeBase, count: int
) -> list[Pair]:
    """Questions that are answered, each with its own document, as many as there are attacks."""
    pairs: dict[str, Pair] = {}
    for question in questions:
        gold = sorted(question.gold & rows.keys() - pairs.keys())
        if len(pairs) == count or not gold or len(rows[gold[0]].text) > LONGEST:
            continue
        if injections.ask(question.text, base).outcome == "answered":
            pairs[gold[0]] = Pair(question.text, rows[gold[0]])
    return list(pairs.values())


def _base(name: str, rows: list[Row]) -> KnowledgeBase:
    base, made = KnowledgeBase.objects.get_or_create(
        slug=f"injections-{name}",
        defaults={"name": name, "audience": KnowledgeBase.Audience.GROUPS},
    )
    if made:
        injections.fill(base, rows)
    return base

import io
import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.db.utils import OperationalError
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from knowledge import indexing, pacing, parsing, tasks, uploading
from knowledge.models import Chunk, KnowledgeBase, Revision, Status
from knowledge.parsing import parts
from opsdesk.errors import ParseError
from opsdesk.realtime import listen_parameters
from tests.browser import kill, wait_for, workers
from tests.knowledge.parsing.files import picture

CSV = "问题,答案\n怎么重启,systemctl restart nginx\n".encode()  # read by the parsing subprocess


@pytest.fixture(autouse=True)
def home(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "home" / "files"
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def nobody_asked(monkeypatch):
    monkeypatch.setattr(pacing, "_somebody", -pacing.LATELY)


@pytest.fixture
def revision(db):
    base = KnowledgeBase.objects.create(slug="ops", name="Ops")
    return uploading.add(base, file=ContentFile(b"# a\n\nb"), name="a.md", approved=True).revision


def fresh(revision):
    return Revision.objects.get(pk=revision.pk)


def test_a_second_delivery_changes_nothing(revision):
    tasks.process(revision.pk)
    first = fresh(revision)
    tasks.process(revision.pk)
    assert fresh(revision).finished_at == first.finished_at and fresh(revision).attempts == 1


def test_a_deleted_revision_is_no_error(db):
    tasks.process(12345)


def test_what_the_parser_says_is_what_is_shown(revision, monkeypatch):
    def parse(*args, **options):
        raise ParseError("它有密码。", permanent=True)

    monkeypatch.setattr(parsing, "parse", parse)
    tasks.process(revision.pk)
    assert (fresh(revision).status, fresh(revision).error) == (Status.FAILED, "它有密码。")


def test_a_passing_trouble_is_tried_again_a_few_times(revision, monkeypatch):
    def parse(*args, **options):
        raise ParseError("忙。", permanent=False)

    monkeypatch.setattr(parsing, "parse", parse)
    for _ in range(tasks.ATTEMPTS - 1):
        tasks.process(revision.pk)
        assert (fresh(revision).status, fresh(revision).error) == (Status.QUEUED, "忙。")
    tasks.process(revision.pk)
    assert fresh(revision).status == Status.FAILED


def test_a_fault_of_ours_fails_with_a_sentence_and_is_reported(revision, monkeypatch):
    def put(revision, parsed):
        raise KeyError("ours")

    monkeypatch.setattr(indexing, "put", put)
    with pytest.raises(KeyError):  # django-q records it with its traceback
        tasks.process(revision.pk)
    assert fresh(revision).status == Status.FAILED and len(fresh(revision).error) > 5


def test_a_file_that_keeps_killing_workers_is_given_up(revision):
    Revision.objects.update(status=Status.PROCESSING, attempts=tasks.ATTEMPTS)
    tasks.process(revision.pk)
    assert fresh(revision).status == Status.FAILED and fresh(revision).error


def test_the_sweep_leaves_what_is_queued_and_finished_alone(revision):
    assert tasks.sweep() == 0
    tasks.process(revision.pk)
    OrmQ.objects.all().delete()
    assert tasks.sweep() == 0


def test_the_sweep_takes_up_what_nobody_works_on(revision):
    # Taken by a cluster that was then killed: the task is locked for minutes.
    OrmQ.objects.update(lock=timezone.now() + timezone.timedelta(minutes=5))
    Revision.objects.update(status=Status.PROCESSING)
    assert tasks.sweep() == 1
    assert tasks.sweep() == 0  # now it waits in the queue
    assert OrmQ.objects.latest("id").args() == (revision.pk,)


@pytest.mark.django_db(transaction=True)
def test_the_sweep_leaves_alone_what_a_worker_reads(revision, monkeypatch):
    OrmQ.objects.all().delete()
    reading, go_on = threading.Event(), threading.Event()
    parse = parsing.parse

    def slowly(*args, **options):
        reading.set()
        assert go_on.wait(60)
        return parse(*args, **options)

    def work():
        tasks.process(revision.pk)
        connection.close()

    monkeypatch.setattr(parsing, "parse", slowly)
    thread = threading.Thread(target=work)
    thread.start()
    assert reading.wait(60)
    assert tasks.sweep() == 0
    tasks.process(revision.pk)  # a second delivery does not wait, and does nothing
    go_on.set()
    thread.join()
    assert fresh(revision).status == Status.READY and fresh(revision).attempts == 1


def test_the_sweep_is_scheduled(db):
    assert Schedule.objects.get(func="knowledge.tasks.sweep").repeats == -1


def reader(session):
    """The process id of the worker of `session` that has a parser under it."""
    for folder in Path("/proc").iterdir():
        try:
            if b"knowledge.parsing.worker" in (folder / "cmdline").read_bytes():
                status = (folder / "status").read_text()
                parent = int(status.partition("PPid:")[2].split()[0])
                if os.getsid(parent) == session:
                    return parent
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError, PermissionError):
            continue
    return None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("killed", ["worker", "cluster"])
def test_a_killed_worker_loses_nothing(home, killed):
    base = KnowledgeBase.objects.create(slug="ops", name="Ops")
    revision = uploading.add(base, file=ContentFile(CSV), name="a.csv", approved=True).revision
    with workers(home) as cluster:
        worker = wait_for(lambda: reader(cluster.pid), "the worker to read")
        os.kill(worker, signal.SIGSTOP)  # else it may be done before it is killed
        assert fresh(revision).status == Status.PROCESSING
        if killed == "worker":
            os.kill(worker, signal.SIGKILL)
            wait_for(lambda: fresh(revision).status == Status.READY, "the new worker")
        else:
            kill(cluster)
            assert fresh(revision).status == Status.PROCESSING
            with workers(home):
                wait_for(lambda: fresh(revision).status == Status.READY, "the new cluster")
    assert fresh(revision).attempts == 2
    assert Chunk.objects.filter(revision=revision).count() == 1


def scan(pages):
    """A PDF of small scanned pages, a word on each."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(300, 60))
    for page in range(1, pages + 1):
        image = ImageReader(io.BytesIO(picture((600, 120), f"第{page}页巡检记录", points=44)))
        canvas.drawImage(image, 0, 0, 300, 60)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_goes_on_after_the_last_finished_page(home):
    base = KnowledgeBase.objects.create(slug="ops", name="Ops")
    file = ContentFile(scan(8))
    revision = uploading.add(base, file=file, name="a.pdf", approved=True).revision
    with workers(home) as cluster:
        worker = wait_for(lambda: reader(cluster.pid), "the worker to read")
        wait_for(lambda: revision.parts.count() > 2, "two pages to be kept")
        os.kill(worker, signal.SIGSTOP)
        kept = revision.parts.get(name="page:1")
        part = parts.load(bytes(kept.data))
        part.parsed.blocks[0].text = "读过的一页"  # what would be lost if it were read again
        kept.data = parts.dump(part)
        kept.save()
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: fresh(revision).status == Status.READY, "the new worker")
    assert [block["text"] for block in fresh(revision).parsed["blocks"]] == [
        "读过的一页",
        *(f"第{page}页巡检记录" for page in range(2, 9)),
    ]
    assert fresh(revision).attempts == 1  # progress was made
    assert not revision.parts.exists()


def test_a_file_that_takes_longer_is_queued_again(revision, monkeypatch):
    def parse(*_args, **options):
        options["store"].save("page:1", b"x")
        options["report"](1, 3)
        raise parsing.Unfinished

    OrmQ.objects.all().delete()
    revision.attempts = tasks.ATTEMPTS - 1
    revision.save()
    monkeypatch.setattr(parsing, "parse", parse)
    tasks.process(revision.pk)
    unfinished = fresh(revision)
    assert (unfinished.status, unfinished.attempts) == (Status.PROCESSING, 0)
    assert (unfinished.progress, unfinished.where) == (33, "已读 1/3（页与图片）")
    assert OrmQ.objects.get().args() == (revision.pk,)
    assert tasks._Parts(unfinished).load() == {"page:1": b"x"}


def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.django_db(transaction=True)
def test_idle_workers_that_are_killed_block_nobody(home):
    base = KnowledgeBase.objects.create(slug="ops", name="Ops")

    def upload(name, text):
        added = uploading.add(base, file=ContentFile(text), name=name, approved=True)
        wait_for(lambda: fresh(added.revision).status == Status.READY, name)

    with workers(home) as cluster:
        upload("a.md", b"# a\n\nb")
        wait_for(lambda: not OrmQ.objects.exists(), "the cluster to be idle")
        (sentinel,) = children(cluster.pid)
        for waiting in children(sentinel):  # one of them with the queue's lock in its hands
            os.kill(waiting, signal.SIGKILL)
        upload("b.md", b"# b\n\nc")


@pytest.mark.django_db
def test_short_texts_are_put_in_together(django_assert_max_num_queries):
    base = KnowledgeBase.objects.create(slug="light", name="Light")
    texts = [b"# %d\n\nsystemctl restart nginx %d" % (n, n) for n in range(30)]
    rows = [
        uploading.add(base, file=ContentFile(text), name=f"{n}.md", approved=True).revision
        for n, text in enumerate(texts)
    ]
    with django_assert_max_num_queries(60):  # about 30 for each if they were alone
        tasks.process(rows[3].pk)
    ready = Revision.objects.filter(status=Status.READY).order_by("pk")
    assert [row.pk for row in ready] == [row.pk for row in rows[3 : 3 + tasks.TOGETHER]]
    assert base.chunks.count() == tasks.TOGETHER and indexing.drift() == 0
    assert all(row.attempts == 1 and row.document.current_id == row.pk for row in ready)
    tasks.process(rows[4].pk)  # its own delivery finds it done
    tasks.process(rows[29].pk)
    assert Revision.objects.filter(status=Status.QUEUED).count() == 9


def texts(base, number):
    return [
        uploading.add(base, file=ContentFile(b"# %d\n\nb" % n), name=f"{n}.md", approved=True)
        for n in range(number)
    ]


def deliver(rounds):
    for _round in range(rounds):
        for task in OrmQ.objects.all():
            task.delete()
            tasks.process(*task.task["args"])


@contextmanager
def reading_together(base):
    """Another worker does so."""
    with psycopg.connect(**listen_parameters()) as other:
        other.execute(
            "SELECT pg_advisory_lock(hashtextextended(%s, 0))", [tasks.TOGETHER_IN % base.pk]
        )
        yield
        other.execute("SELECT pg_advisory_unlock_all()")


@pytest.mark.django_db(transaction=True)
def test_while_people_ask_texts_are_left_to_the_worker_that_reads_together(settings):
    base = KnowledgeBase.objects.create(slug="light", name="Light")
    rows = texts(base, tasks.TOGETHER + 2)
    first = rows[0].revision
    time.sleep(pacing.HOLDS)
    settings.BUSY = [f"{__name__}.busy"]
    BUSY.extend([True, False])
    pacing.give_way()
    settings.BUSY = []
    with reading_together(base):
        tasks.process(first.pk)
        assert fresh(first).status == Status.QUEUED
    OrmQ.objects.all().delete()  # as if all their tasks had been delivered meanwhile
    tasks.process(rows[1].revision.pk)
    deliver(len(rows))
    assert not Revision.objects.exclude(status=Status.READY).exists()


@pytest.mark.django_db(transaction=True)
def test_while_nobody_asks_two_workers_read_together():
    base = KnowledgeBase.objects.create(slug="light", name="Light")
    first = texts(base, 3)[0].revision
    with reading_together(base):
        tasks.process(first.pk)
    assert Revision.objects.filter(status=Status.READY).count() == 3


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_lose_nothing_when_one_crashes(monkeypatch):
    """Each has read twenty when the other has: then one of them fails to write."""
    base = KnowledgeBase.objects.create(slug="light", name="Light")
    rows = texts(base, 2 * tasks.TOGETHER)
    OrmQ.objects.all().delete()
    read, put_all = threading.Barrier(2), indexing.put_all

    def crashing(items):
        read.wait(60)
        if items[0][0].pk == rows[0].revision.pk:
            raise OperationalError("gone")
        put_all(items)

    def work(revision_id):
        with suppress(OperationalError):
            tasks.process(revision_id)
        connection.close()

    monkeypatch.setattr(indexing, "put_all", crashing)
    threads = [
        threading.Thread(target=work, args=[rows[n].revision.pk]) for n in (0, tasks.TOGETHER)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.setattr(indexing, "put_all", put_all)
    ready = Revision.objects.filter(status=Status.READY).order_by("pk")
    assert [row.pk for row in ready] == [row.revision.pk for row in rows[tasks.TOGETHER :]]
    assert tasks.sweep() == tasks.TOGETHER
    deliver(1)
    assert ready.all().count() == len(rows) == base.chunks.count() and indexing.drift() == 0


@pytest.mark.django_db
def test_one_that_cannot_be_read_stops_none_beside_it(monkeypatch):
    base = KnowledgeBase.objects.create(slug="light", name="Light")
    rows = [
        uploading.add(base, file=ContentFile(b"# a %d\n\nb" % n), name=f"{n}.md", approved=True)
        for n in range(4)
    ]
    parse = parsing.parse

    def broken(path, name, *args, **kwargs):
        if name == "2.md":
            raise ParseError("broken", permanent=True)
        return parse(path, name, *args, **kwargs)

    monkeypatch.setattr(parsing, "parse", broken)
    tasks.process(rows[0].revision.pk)
    states = Revision.objects.order_by("pk").values_list("status", "error", "attempts")
    assert list(states) == [
        ("ready", "", 1), ("ready", "", 1), ("failed", "broken", 1), ("ready", "", 1),
    ]  # fmt: skip


def test_reading_gives_way_to_answers_but_not_for_ever(settings):
    time.sleep(pacing.HOLDS)  # so long is believed what another test saw
    settings.BUSY = [f"{__name__}.busy"]
    BUSY.extend([True, True, False])
    pacing.give_way()
    assert not BUSY
    pacing.give_way()  # nobody waited this moment
    time.sleep(pacing.HOLDS)
    settings.BUSY = [f"{__name__}.always"]
    pacing.give_way(0.05)


@pytest.mark.django_db(transaction=True)
def test_reading_waits_for_no_disk_and_what_follows_does():
    def flushes():
        with connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            return cursor.fetchone() == ("on",)

    with pytest.raises(ZeroDivisionError), pacing.unflushed():
        assert not flushes()
        raise ZeroDivisionError
    assert flushes()
    with pacing.unflushed():
        connection.close()  # lost: there is nothing to take back
    assert flushes()


@pytest.mark.django_db(transaction=True)
def test_what_another_worker_claimed_is_left_to_it():
    base = KnowledgeBase.objects.create(slug="light", name="Light")
    rows = [
        uploading.add(base, file=ContentFile(b"# %d\n\nb" % n), name=f"{n}.md", approved=True)
        for n in range(3)
    ]
    with psycopg.connect(**listen_parameters()) as other:
        other.execute(
            "SELECT pg_advisory_lock(hashtextextended(%s, 0))",
            [tasks.GROUP % rows[1].revision.pk],
        )
        tasks.process(rows[0].revision.pk)
        other.execute("SELECT pg_advisory_unlock_all()")  # at once, not some time after it left
    states = Revision.objects.order_by("pk").values_list("status", flat=True)
    assert list(states) == [Status.READY, Status.QUEUED, Status.READY]
    tasks.process(rows[1].revision.pk)
    assert Revision.objects.filter(status=Status.READY).count() == 3


BUSY = []


def busy():
    return BUSY.pop(0)


def always():
    return True

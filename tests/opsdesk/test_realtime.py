import asyncio
import threading

import pytest
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.db import connection, transaction

from opsdesk import realtime
from opsdesk.realtime import PayloadTooLarge, PostgresLayer, notify

pytestmark = pytest.mark.django_db(transaction=True)


async def join(layer, *groups):
    channel = await layer.new_channel()
    for group in groups:
        await layer.group_add(group, channel)
    return channel


async def receive(layer, channel, count=1):
    async with asyncio.timeout(30):
        return [await layer.receive(channel) for _ in range(count)]


async def silent(layer, channel):
    """Whether nothing waits, once everything sent so far has arrived."""
    await layer.send(channel, {"type": "mark"})
    return await receive(layer, channel) == [{"type": "mark"}]


def in_thread(function, *args):
    thread = threading.Thread(target=lambda: (function(*args), connection.close()))
    thread.start()
    thread.join()


def test_is_the_configured_layer():
    assert isinstance(get_channel_layer(), PostgresLayer)


async def test_a_burst_arrives_whole_and_in_order():
    layer = PostgresLayer()
    channels = [await join(layer, "burst") for _ in range(3)]

    def burst():
        for n in range(500):
            notify("burst", {"type": "n", "n": n})

    await database_sync_to_async(burst, thread_sensitive=False)()
    for channel in channels:
        messages = await receive(layer, channel, 500)
        assert [message["n"] for message in messages] == list(range(500))


async def test_group_send_reaches_members_only_and_chinese_survives():
    layer = PostgresLayer()
    inside, left, outside = [await join(layer, group) for group in ("a", "a", "b")]
    await layer.group_discard("a", left)
    await layer.group_send("a", {"type": "hello", "text": "人工客服已经接手！\x00🙂"})
    assert await receive(layer, inside) == [{"type": "hello", "text": "人工客服已经接手！\x00🙂"}]
    assert await silent(layer, left)
    assert await silent(layer, outside)


async def test_event_loops_hear_each_other():
    """A layer object is shared by the loops of a process; other processes are other layers."""
    layer, other = PostgresLayer(), PostgresLayer()
    here, there = await join(layer, "loops"), await join(other, "loops")

    def send_from_another_loop():
        asyncio.run(layer.group_send("loops", {"type": "x"}))

    await asyncio.to_thread(send_from_another_loop)
    assert await receive(layer, here) == [{"type": "x"}]
    assert await receive(other, there) == [{"type": "x"}]


async def test_a_message_leaves_with_the_commit():
    layer = PostgresLayer()
    channel = await join(layer, "tx")

    def work():
        with transaction.atomic():
            notify("tx", {"type": "rolled.back"})
            transaction.set_rollback(True)
        with transaction.atomic():
            notify("tx", {"type": "committed"})

    await database_sync_to_async(work)()
    assert await receive(layer, channel) == [{"type": "committed"}]
    assert await silent(layer, channel)


async def test_a_killed_backend_is_replaced_and_everyone_told():
    layer = PostgresLayer()
    channels = [await join(layer, "lost"), await join(layer, "found")]

    def kill():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE query = 'LISTEN opsdesk' AND datname = current_database()"
            )
            return cursor.fetchone()[0]

    assert await database_sync_to_async(kill)() == 1
    for channel in channels:
        assert await receive(layer, channel) == [{"type": "realtime.reconnected"}]
    await layer.group_send("found", {"type": "again"})
    assert await receive(layer, channels[1]) == [{"type": "again"}]


async def test_a_full_channel_is_told_to_catch_up(monkeypatch):
    monkeypatch.setattr(realtime, "CAPACITY", 3)
    layer = PostgresLayer()
    slow, quick = await join(layer, "full"), await join(layer, "mark")
    for n in range(5):
        await layer.group_send("full", {"type": "n", "n": n})
    await layer.group_send("mark", {"type": "mark"})
    await receive(layer, quick)  # so all five are in
    assert await receive(layer, slow, 2) == [
        {"type": "realtime.reconnected"},
        {"type": "n", "n": 4},
    ]


def test_too_large_is_refused_before_it_is_sent():
    with pytest.raises(PayloadTooLarge, match="'big'"):
        notify("g", {"type": "big", "text": "中" * 2700})
    notify("g", {"type": "fits", "text": "中" * 2600})


async def test_a_closed_reader_leaves_nothing_behind():
    layer = PostgresLayer()
    channel = await join(layer, "gone", "also.gone")
    reader = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    (listener,) = layer._listeners.values()
    assert not listener.channels
    assert not listener.groups


def test_a_finished_loop_takes_its_connection_along():
    layer = PostgresLayer()
    asyncio.run(join(layer, "short.lived"))
    assert not layer._listeners


async def test_names_are_checked():
    with pytest.raises(TypeError):
        await PostgresLayer().group_send("组", {"type": "x"})


async def test_what_was_to_be_told_over_a_killed_connection_is_told_over_another():
    layer = PostgresLayer()
    channel = await join(layer, "told")
    await layer.group_send("told", {"type": "before"})

    def kill():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE query LIKE 'SELECT pg_notify($1%' AND datname = current_database()"
            )
            return cursor.fetchone()[0]

    assert await database_sync_to_async(kill)() == 1
    told = [layer.group_send("told", {"type": "n", "n": n}) for n in range(3)]
    await asyncio.gather(*told)
    messages = await receive(layer, channel, 4)
    assert messages == [{"type": "before"}, *({"type": "n", "n": n} for n in range(3))]

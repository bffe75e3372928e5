"""What is told in another thread arrives in the event loop, whole and in order."""

from __future__ import annotations

import asyncio
import threading

from gpt1.serving.engine import Update
from gpt1.serving.handover import Handover


def test_updates_of_many_threads_arrive_in_the_order_of_each() -> None:
    count, threads = 2000, 4
    found: list[list[int]] = [[] for _ in range(threads)]

    async def receive() -> None:
        handover, done = Handover(), asyncio.Event()
        loop_thread = threading.get_ident()

        def take(number: int, update: Update) -> None:
            assert threading.get_ident() == loop_thread
            found[number].append(update.tokens)
            if sum(map(len, found)) == count * threads:
                done.set()

        def tell(number: int) -> threading.Thread:
            listener = handover.listener(lambda update: take(number, update))

            def run() -> None:
                for i in range(count):
                    listener(Update(0, tokens=i))

            return threading.Thread(target=run)

        telling = [tell(number) for number in range(threads)]
        for thread in telling:
            thread.start()
        await asyncio.wait_for(done.wait(), 60)
        for thread in telling:
            thread.join()

    asyncio.run(receive())
    assert found == [list(range(count))] * threads


def test_what_is_told_at_once_is_one_wake_up() -> None:
    taken: list[Update] = []

    async def receive() -> int:
        listener = Handover().listener(taken.append)
        for i in range(50):
            listener(Update(0, tokens=i))
        await asyncio.sleep(0)  # the loop runs what is due, once
        return len(taken)

    assert asyncio.run(receive()) == 50

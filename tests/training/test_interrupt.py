"""Ctrl-C: the first is a request, the second leaves, and afterwards all is as before."""

from __future__ import annotations

import signal
import threading

import pytest

from gpt1.training.interrupt import stop_on_interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request_and_ctrl_c_after_it_leaves(number: signal.Signals) -> None:
    with stop_on_interrupt() as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested
        assert stop.preempted is (number == signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sigterm_may_come_again_and_under_a_launcher_ctrl_c_as_well(
    number: signal.Signals,
) -> None:
    with stop_on_interrupt(patient=True) as stop:
        for sent in (number, signal.SIGTERM, number):
            signal.raise_signal(sent)
    assert stop.requested
    assert stop.preempted is (number == signal.SIGTERM)


@pytest.mark.parametrize("failing", [False, True])
def test_the_handlers_before_are_put_back(failing: bool) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    try:
        with stop_on_interrupt():
            assert all(signal.getsignal(number) not in before for number in numbers)
            if failing:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert [signal.getsignal(number) for number in numbers] == before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen: list[object] = []
    before = signal.getsignal(signal.SIGINT)

    def work() -> None:
        with stop_on_interrupt() as stop:
            seen.extend([stop.requested, signal.getsignal(signal.SIGINT)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, before]

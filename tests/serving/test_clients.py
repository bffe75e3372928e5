"""Requests of a client: so many at a time, and so many a minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt1.serving import clients as module
from gpt1.serving.clients import Clients, client_of
from gpt1.serving.refusal import Refusal


def test_a_client_has_so_many_requests_at_a_time() -> None:
    clients = Clients(2)
    clients.enter("a")
    clients.enter("a")
    with pytest.raises(Refusal, match="2 requests of yours are being answered already") as error:
        clients.enter("a")
    assert (error.value.status, error.value.headers) == (429, {"Retry-After": "1"})
    clients.enter("b")
    clients.leave("a")
    clients.enter("a")


def test_a_bucket_fills_again() -> None:
    now = [0.0]
    clients = Clients(100, 6, clock=lambda: now[0])
    for _ in range(6):
        clients.enter("a")
    with pytest.raises(Refusal, match="a client may send 6 requests a minute") as error:
        clients.enter("a")
    assert error.value.headers == {"Retry-After": "10"}
    clients.enter("b")
    now[0] = 10.0
    clients.enter("a")
    with pytest.raises(Refusal):
        clients.enter("a")


@given(st.floats(0.5, 200), st.lists(st.floats(0, 30), min_size=1, max_size=60))
def test_no_window_of_time_has_more_than_the_rate_allows(
    per_minute: float, pauses: list[float]
) -> None:
    now, taken = [0.0], list[float]()
    clients = Clients(10**6, per_minute, clock=lambda: now[0])
    for pause in pauses:
        now[0] += pause
        try:
            clients.enter("a")
        except Refusal:
            pass
        else:
            taken.append(now[0])
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            allowed = max(1, per_minute) + (taken[last] - start) * per_minute / 60
            assert last - first + 1 <= allowed + 1e-6


def test_what_is_remembered_of_clients_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CLIENTS", 3)
    clients = Clients(1, 60)
    for number in range(10):
        clients.enter(str(number))
        clients.leave(str(number))
    assert list(clients._buckets) == ["7", "8", "9"]
    assert not clients._running


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_counts_for_a_client(address: str, client: str) -> None:
    assert client_of(address) == client

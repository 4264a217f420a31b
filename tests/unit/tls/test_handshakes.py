"""Whose handshake goes on next, and who has to give way."""

from __future__ import annotations

from tests.kit.certificates import Certificates
from tests.unit.tls.layered import Client, Connection, Rig, in_memory, serving, turns


def begun(rig: Rig, certificates: Certificates, count: int) -> list[Connection]:
    """Return connections whose ClientHello has come."""
    context = certificates.trusting()
    found = [rig.connect(Client(context)) for _ in range(count)]
    for one in found:
        one.comes(one.client.take())
    return found


@in_memory
async def test_two_steps_are_done_in_a_turn(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    clients = begun(rig, certificates, 64)
    assert not any(one.wire.is_reading for one in clients)
    for turn in range(1, 33):
        await turns(1)
        answered = [one for one in clients if one.wire.sent]
        assert len(answered) <= 2 * turn
    await turns(2)
    assert all(one.wire.sent and one.wire.is_reading for one in clients)
    assert rig.counters.tls_handshaking == 64
    await rig.settle(*clients)
    assert all(one.app.events == ["made"] for one in clients)
    assert rig.counters.tls_handshaking == 0


@in_memory
async def test_who_has_begun_goes_before_who_has_not(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    [first] = begun(rig, certificates, 1)
    await turns()
    others = begun(rig, certificates, 10)
    first.comes(first.client.take(first.goes()))
    await turns(1)
    assert first.app.events == ["made"]
    assert sum(bool(one.wire.sent) for one in others) <= 2
    await rig.settle(*others)
    assert all(one.app.events == ["made"] for one in others)


@in_memory
async def test_an_open_connection_is_served_between_steps(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    neighbour = await rig.shake(certificates.trusting())
    clients = begun(rig, certificates, 20)
    await turns(1)
    neighbour.comes(neighbour.client.write(b"echo"))
    assert neighbour.app.received == b"echo"
    assert not all(one.wire.sent for one in clients)


@in_memory
async def test_a_full_worker_lets_go_who_has_waited_longest_for_its_client(
    certificates: Certificates,
) -> None:
    rig = Rig(serving(certificates.ec), max_tls_handshakes=4)
    stale = begun(rig, certificates, 4)
    await turns(4)
    assert rig.counters.tls_handshaking == 4
    # The oldest has answered meanwhile, and only waits for its step.
    stale[0].comes(stale[0].client.take(stale[0].goes())[:10])
    [new] = begun(rig, certificates, 1)
    await turns(4)
    assert [one.wire.is_aborted for one in stale] == [False, True, False, False]
    assert rig.limits == {"listener.tls.handshakes": 1}
    assert stale[1].app.events == [
        "ended: too many TLS handshakes, and this one waited longest for its client"
    ]
    assert (rig.counters.tls_left, rig.counters.tls_handshaking) == (1, 4)
    await rig.settle(new)
    assert new.app.events == ["made"]


@in_memory
async def test_a_storm_of_stale_ones_does_not_keep_out_who_answers(
    certificates: Certificates,
) -> None:
    rig = Rig(serving(certificates.ec), max_tls_handshakes=4)
    for _ in range(10):
        begun(rig, certificates, 8)
        [honest] = begun(rig, certificates, 1)
        await rig.settle(honest)
        assert honest.app.events == ["made"]
    assert rig.counters.tls_handshaking <= 4


@in_memory
async def test_who_leaves_the_queue_takes_no_step(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    clients = begun(rig, certificates, 6)
    for one in clients[:4]:
        one.lose()
    await turns(2)
    assert [bool(one.wire.sent) for one in clients] == [False] * 4 + [True] * 2
    assert rig.counters.tls_handshaking == 2
    assert rig.counters.tls_left == 4

"""Clients that have shaken hands and then send what costs a server more than it costs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpchat.websocket.budget import TLS_CONTROL
from tests.kit.certificates import Certificates
from tests.unit.server import virtual
from tests.unit.tls.layered import V13, Connection, Rig, serving, turns
from tests.unit.tls.sealing import ALERT, DATA, HANDSHAKE, Sealer

_UPDATE = 27
"""Bytes of a key update."""


async def sealed(certificates: Certificates, folder: Path) -> tuple[Rig, Connection, Sealer]:
    """Return a connection, and what seals its client's records."""
    rig = Rig(serving(certificates.ec))
    context = certificates.trusting(version=V13)
    context.keylog_filename = str(folder / "keys")
    one = await rig.shake(context)
    one.goes()
    return rig, one, Sealer(folder / "keys")


def test_key_updates_cost_their_price_and_are_told(
    certificates: Certificates, tmp_path: Path
) -> None:
    async def test() -> None:
        rig, one, sealer = await sealed(certificates, tmp_path)
        before = rig.turn.done
        flood = b"".join(sealer.key_update(wants_answer=False) for _ in range(1000))
        one.comes(flood)
        most = rig.shared.thresholds.turn_work // TLS_CONTROL
        # At most those of the last step are too many.
        assert most <= one.app.controls <= most + 16
        assert not one.wire.is_reading
        for _ in range(20):
            seen = one.app.controls
            await turns(1)
            assert one.app.controls <= seen + most + 16
        assert (one.app.controls, one.wire.is_reading) == (1000, True)
        assert rig.turn.done - before >= 1000 * TLS_CONTROL
        one.comes(sealer.seal(DATA, b"at last"))
        assert (one.app.received, one.app.controls) == (b"at last", 1000)

    virtual.run(test())


def test_a_neighbour_is_served_in_between(certificates: Certificates, tmp_path: Path) -> None:
    async def test() -> None:
        rig, one, sealer = await sealed(certificates, tmp_path)
        other = await rig.shake(certificates.trusting())
        one.comes(b"".join(sealer.key_update(wants_answer=False) for _ in range(1000)))
        other.comes(other.client.write(b"now"))
        await turns()
        assert other.app.received == b"now"
        assert one.app.controls < 400

    virtual.run(test())


def test_who_leaves_answers_unread_is_not_read(certificates: Certificates, tmp_path: Path) -> None:
    async def test() -> None:
        _rig, one, sealer = await sealed(certificates, tmp_path)
        one.layer.set_write_buffer_limits(high=100)
        one.wire.is_stuck = True
        one.comes(b"".join(sealer.key_update(wants_answer=True) for _ in range(16)))
        # OpenSSL writes the last answer with what comes next.
        assert len(one.goes()) == 15 * _UPDATE
        assert not one.wire.is_reading
        # What is above reads on, as it does behind a Close: the layer does not.
        one.layer.resume_reading()
        assert not one.wire.is_reading
        one.wire.take_all()
        assert one.wire.is_reading

    virtual.run(test())


def test_data_is_told_from_updates_in_any_mixture(
    certificates: Certificates, tmp_path: Path
) -> None:
    async def test() -> None:
        _rig, one, sealer = await sealed(certificates, tmp_path)
        flood = b""
        for _ in range(50):
            flood += sealer.seal(DATA, b"a") + sealer.key_update(wants_answer=False)
        # Records end anywhere in what is read.
        for at in range(0, len(flood), 100):
            one.comes(flood[at : at + 100])
            await turns()
        assert (one.app.received, one.app.controls) == (b"a" * 50, 50)

    virtual.run(test())


@pytest.mark.parametrize(
    ("kind", "content", "count", "taken"),
    [
        pytest.param(DATA, b"", 33, 32, id="empty records"),
        pytest.param(ALERT, b"\x01\x5a", 5, 4, id="warnings"),
        pytest.param(HANDSHAKE, b"\x01\x00\x00\x00", 1, 0, id="a second ClientHello"),
    ],
)
def test_openssl_ends_some_floods_itself(
    certificates: Certificates, tmp_path: Path, kind: int, content: bytes, count: int, taken: int
) -> None:
    async def test() -> None:
        rig, one, sealer = await sealed(certificates, tmp_path)
        for _ in range(taken):
            one.comes(sealer.seal(kind, content))
        assert not one.wire.is_closed
        for _ in range(count - taken):
            one.comes(sealer.seal(kind, content))
        assert one.wire.is_closed
        assert rig.counters.tls_broken == 1

    virtual.run(test())


def test_padding_is_no_data(certificates: Certificates, tmp_path: Path) -> None:
    async def test() -> None:
        _rig, one, sealer = await sealed(certificates, tmp_path)
        one.comes(b"".join(sealer.seal(DATA, b"", 16_000) for _ in range(20)))
        await turns(4)
        assert (one.app.received, one.app.controls) == (b"", 20)

    virtual.run(test())


def test_small_records_of_data_are_handed_on_together(
    certificates: Certificates, tmp_path: Path
) -> None:
    async def test() -> None:
        _rig, one, sealer = await sealed(certificates, tmp_path)
        reads: list[int] = []
        one.app.on_data = lambda data: reads.append(len(data))
        one.comes(b"".join(sealer.seal(DATA, b"a") for _ in range(1000)))
        assert (reads, one.app.controls) == ([1000], 0)

    virtual.run(test())

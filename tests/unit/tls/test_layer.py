"""The layer between a socket and HTTP: handshakes, bytes both ways, and ends."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from tests.kit.certificates import Certificates
from tests.unit.server import virtual
from tests.unit.tls.layered import TIMEOUT, V12, V13, App, Client, Rig, in_memory, serving, turns

VERSIONS = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])


@VERSIONS
@in_memory
async def test_bytes_go_both_ways(certificates: Certificates, version: ssl.TLSVersion) -> None:
    rig = Rig(serving(certificates.ec))
    one = await rig.shake(certificates.trusting(version=version))
    assert one.app.events == ["made"]
    assert one.client.is_shaken
    for size in (1, 32, 16_384, 16_385, 65_536, 300_000):
        data = bytes(index % 251 for index in range(size))
        one.app.received = one.client.received = b""
        one.comes(one.client.write(data))
        await rig.settle(one)
        one.layer.write(data)
        await rig.settle(one)
        assert (one.app.received, one.client.received) == (data, data)
    one.app.transport.writelines([b"head", bytes(200_000), b"", b"tail"])
    one.client.received = b""
    await rig.settle(one)
    assert one.client.received == b"head" + bytes(200_000) + b"tail"
    assert rig.counters.tls_handshakes == 1
    assert not rig.counters.tls_handshaking


@in_memory
async def test_parts_go_out_in_full_records(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    one = await rig.shake(certificates.trusting())
    one.layer.writelines([b"x" * 10] * 100)
    assert len(one.goes()) == 1000 + 22
    one.layer.writelines([b"x" * 10, bytes(100_000)])
    assert len(one.goes()) == 100_010 + 7 * 22
    one.layer.writelines([])
    one.layer.writelines([b"", b""])
    one.layer.write(b"")
    assert one.goes() == b""


@VERSIONS
@in_memory
async def test_what_comes_with_the_end_of_the_handshake_is_not_lost(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    rig = Rig(serving(certificates.ec))
    one = rig.connect(Client(certificates.trusting(version=version)))
    one.comes(one.client.take())
    await turns()
    last = one.client.take(one.goes())
    if version is V13:
        last += one.client.write(b"early ") + one.client.write(bytes(100_000))
    one.comes(last)
    await rig.settle(one)
    assert one.app.events == ["made"]
    assert one.app.received == (b"early " + bytes(100_000) if version is V13 else b"")


@in_memory
async def test_a_session_is_resumed_and_counted(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    context = certificates.trusting()
    first = await rig.shake(context)
    again = await rig.shake(context, session=first.client.tls.session)
    assert again.client.tls.session_reused
    assert (rig.counters.tls_handshakes, rig.counters.tls_resumed) == (2, 1)


@in_memory
async def test_no_common_protocol_above_tls_is_no_error(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    context = certificates.trusting()
    context.set_alpn_protocols(["h2"])
    one = await rig.shake(context)
    assert one.app.events == ["made"]
    assert one.client.tls.selected_alpn_protocol() is None
    context.set_alpn_protocols(["h2", "http/1.1"])
    assert (await rig.shake(context)).client.tls.selected_alpn_protocol() == "http/1.1"


# Other code within a callback


@in_memory
async def test_a_handler_writes_to_others_from_within_its_own_data(
    certificates: Certificates,
) -> None:
    rig = Rig(serving(certificates.ec))
    context = certificates.trusting()
    one, other = await rig.shake(context), await rig.shake(context)

    def write_to_both(data: bytes) -> None:
        other.layer.write(data)
        one.layer.write(data)

    one.app.on_data = write_to_both
    one.comes(one.client.write(b"a" * 50) + one.client.write(b"b" * 50))
    await rig.settle(one, other)
    assert other.client.received == one.client.received == b"a" * 50 + b"b" * 50


@pytest.mark.parametrize("end", ["close", "abort", "write_eof"])
@in_memory
async def test_a_handler_ends_its_connection_from_within_its_data(
    certificates: Certificates, end: str
) -> None:
    rig = Rig(serving(certificates.ec))
    one = await rig.shake(certificates.trusting())
    one.app.on_data = lambda data: getattr(one.layer, end)()
    # More than is fed at a time.
    one.comes(b"".join(one.client.write(b"x" * 4000) for _ in range(60)))
    await turns()
    assert len(one.app.received) == 80_000
    one.client.take(one.goes())
    assert one.client.has_ended is (end != "abort")
    assert one.wire.is_aborted is (end == "abort")
    assert one.wire.has_eof is (end == "write_eof")
    assert one.layer.is_closing() is (end != "write_eof")


@in_memory
async def test_a_pause_from_within_stops_at_the_piece(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    one = await rig.shake(certificates.trusting())
    one.app.on_data = lambda data: one.layer.pause_reading()
    one.comes(b"".join(one.client.write(b"x" * 4000) for _ in range(60)))
    assert (len(one.app.received), one.wire.is_reading) == (80_000, False)
    await turns(5)
    assert len(one.app.received) == 80_000
    one.layer.resume_reading()
    assert len(one.app.received) == 80_000, "resume_reading calls nothing by itself"
    await turns(5)
    assert len(one.app.received) == 160_000
    one.app.on_data = lambda data: None
    one.layer.resume_reading()
    await turns(5)
    assert (len(one.app.received), one.wire.is_reading) == (240_000, True)


@in_memory
async def test_an_error_of_the_application_ends_its_connection_alone(
    certificates: Certificates,
) -> None:
    rig = Rig(serving(certificates.ec))
    context = certificates.trusting()
    one, other = await rig.shake(context), await rig.shake(context)

    def fail(data: bytes) -> None:
        raise LookupError("a handler's mistake")

    one.app.on_data = fail
    with pytest.raises(LookupError):
        one.comes(b"".join(one.client.write(b"x" * 4000) for _ in range(60)))
    assert rig.worker.is_empty
    assert one.wire.is_aborted
    one.lose()
    assert one.app.events == ["made", "lost"]
    other.comes(other.client.write(b"still here"))
    assert other.app.received == b"still here"


@in_memory
async def test_an_error_in_connection_made_ends_its_connection_alone(
    certificates: Certificates,
) -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, found: reported.append(found))
    rig = Rig(serving(certificates.ec))
    one, other = (rig.connect(Client(certificates.trusting())) for _ in range(2))

    def fail(transport: Any) -> None:
        raise LookupError("a mistake")

    one.app.connection_made = fail  # type: ignore[method-assign]
    await rig.settle(one, other)
    assert one.wire.is_aborted
    assert isinstance(reported[0]["exception"], LookupError)
    assert other.app.events == ["made"]


# Limits of writing and reading


@in_memory
async def test_what_is_unsent_is_what_the_transport_has(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    one = await rig.shake(certificates.trusting())
    one.layer.set_write_buffer_limits(high=1000)
    one.wire.is_stuck = True
    one.layer.write(bytes(500))
    assert one.layer.get_write_buffer_size() == 522
    one.layer.write(bytes(500))
    assert one.app.events == ["made", "pause"]
    one.wire.take_all()
    assert one.app.events == ["made", "pause", "resume"]
    assert one.layer.get_write_buffer_size() == 0


@in_memory
async def test_a_spent_turn_keeps_what_comes(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    one = await rig.shake(certificates.trusting())
    rig.turn.charge(rig.shared.thresholds.turn_work)
    one.comes(one.client.write(b"later"))
    assert (one.app.received, one.wire.is_reading) == (b"", False)
    assert rig.turn.kept == 5 + 22
    await turns()
    assert (one.app.received, one.wire.is_reading) == (b"later", True)
    assert rig.turn.kept == 0


# Ends


@VERSIONS
@in_memory
async def test_the_clients_close_notify_is_the_end_of_its_data_only(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    rig = Rig(serving(certificates.ec))
    one = await rig.shake(certificates.trusting(version=version))
    one.app.stays = True
    one.comes(one.client.write(b"last") + one.client.notify() + b"what nobody reads")
    assert (one.app.received, one.app.events) == (b"last", ["made", "eof"])
    one.layer.write(b"an answer")
    one.comes(b"nor this")
    assert one.layer.eof_received(), "the answer may still be under way"
    one.layer.close()
    one.client.take(one.goes())
    assert one.client.received == b"an answer"
    assert one.wire.is_closed
    assert not one.wire.is_aborted
    assert rig.counters.tls_truncated == 0
    assert one.app.events == ["made", "eof"]


@in_memory
async def test_a_client_that_ends_is_answered_unless_the_application_stays(
    certificates: Certificates,
) -> None:
    rig = Rig(serving(certificates.ec))
    one = await rig.shake(certificates.trusting())
    one.comes(one.client.notify())
    one.client.take(one.goes())
    assert one.client.has_ended
    assert one.wire.is_closed


@in_memory
async def test_an_end_without_close_notify_is_counted_and_told(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    one = await rig.shake(certificates.trusting())
    one.app.stays = True
    one.comes(one.client.write(b"half of"))
    assert one.layer.eof_received()
    assert (one.app.events, rig.counters.tls_truncated) == (["made", "eof"], 1)
    one.layer.write(b"heard that")
    one.layer.close()
    one.client.take(one.goes())
    assert (one.client.received, one.client.has_ended) == (b"heard that", True)
    one.lose()
    assert one.app.events == ["made", "eof", "lost"]


@VERSIONS
@in_memory
async def test_our_end_leaves_the_socket_open_and_drops_what_comes(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    rig = Rig(serving(certificates.ec))
    one = await rig.shake(certificates.trusting(version=version))
    # Half of a record is in OpenSSL's hands.
    record = one.client.write(bytes(1000))
    one.comes(record[:500])
    one.layer.write(b"goodbye")
    one.layer.write_eof()
    assert one.wire.has_eof
    assert one.layer.get_extra_info("ssl_object") is None
    one.client.take(one.goes())
    assert (one.client.received, one.client.has_ended) == (b"goodbye", True)
    one.comes(record[500:] + b"\x17\x03\x03\x00\x05wrong")
    assert one.app.received == b""
    with pytest.raises(RuntimeError, match="cannot write after write_eof"):
        one.layer.write(b"more")
    one.layer.write_eof()
    assert not one.wire.is_closed
    assert not one.layer.eof_received()
    assert one.app.events == ["made", "eof"]
    one.layer.close()
    assert one.wire.is_closed


@in_memory
async def test_a_client_cannot_keep_the_turn_with_what_is_dropped(
    certificates: Certificates,
) -> None:
    rig = Rig(serving(certificates.ec))
    one = await rig.shake(certificates.trusting())
    one.layer.write_eof()
    rig.turn.charge(rig.shared.thresholds.turn_work)
    one.comes(bytes(1000))
    assert not one.wire.is_reading
    await turns()
    assert one.wire.is_reading


@in_memory
async def test_nothing_is_written_to_a_closed_connection(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    one = await rig.shake(certificates.trusting())
    one.layer.close()
    one.goes()
    one.layer.write(b"too late")
    one.layer.writelines([b"too", b"late"])
    one.layer.close()
    one.layer.write_eof()
    assert one.goes() == b""
    one.lose()
    one.layer.abort()
    assert one.app.events == ["made", "lost"]


@VERSIONS
@in_memory
async def test_a_wrong_record_ends_its_connection_with_an_alert(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    rig = Rig(serving(certificates.ec))
    context = certificates.trusting(version=version)
    one, other = await rig.shake(context), await rig.shake(context)
    good, bad = one.client.write(b"whole"), bytearray(one.client.write(b"flipped"))
    bad[-1] ^= 1
    one.comes(good + bytes(bad) + other.client.write(b"not for it"))
    assert one.app.received == b"whole"
    one.client.take(one.goes())
    assert one.client.error is not None
    assert "BAD_RECORD_MAC" in str(one.client.error.reason)
    assert one.wire.is_closed
    one.layer.write(b"nothing")
    assert one.goes() == b""
    assert rig.counters.tls_broken == 1


@in_memory
async def test_a_record_of_another_kind_ends_its_connection(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    one = await rig.shake(certificates.trusting())
    one.comes(b"\x16\x03\x03\x00\x05hello")
    assert one.wire.is_closed
    one.lose()
    assert one.app.events == ["made", "lost"]


# Odd moments of the handshake


@in_memory
async def test_nothing_is_made_before_the_client_hello_is_whole(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    one = rig.connect(Client(certificates.trusting()))
    hello = one.client.take()
    for index in range(len(hello) - 1):
        one.comes(hello[index : index + 1])
    await turns()
    assert (one.goes(), rig.counters.tls_handshaking) == (b"", 0)
    assert one.layer.get_extra_info("ssl_object") is None
    one.comes(hello[-1:])
    await turns()
    assert rig.counters.tls_handshaking == 1
    await rig.settle(one)
    assert one.app.events == ["made"]


@in_memory
async def test_a_client_hello_may_come_in_some_records(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    one = rig.connect(Client(certificates.trusting()))
    hello = one.client.take()[5:]
    cut = [hello[:1], hello[1:100], hello[100:]]
    for part in cut:
        assert rig.counters.tls_handshaking == 0
        one.comes(b"\x16\x03\x01" + len(part).to_bytes(2) + part)
        await turns()
    await rig.settle(one)
    assert one.app.events == ["made"]


@in_memory
async def test_no_time_for_a_handshake_without_end(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    silent, stuck, done = (rig.connect(Client(certificates.trusting())) for _ in range(3))
    stuck.comes(stuck.client.take())
    await rig.settle(done)
    await asyncio.sleep(TIMEOUT + 0.1)
    assert silent.wire.is_aborted
    assert stuck.wire.is_aborted
    assert not done.wire.is_closed
    assert rig.limits == {"handshake-timeout": 2}
    assert (rig.counters.tls_left, rig.counters.tls_handshaking) == (2, 0)
    assert stuck.app.events == ["ended: no TLS handshake in time"]
    for one in (silent, stuck):
        one.lose()
        assert one.app.events == ["ended: no TLS handshake in time", "lost"]


@in_memory
async def test_who_is_beyond_a_limit_has_a_second(certificates: Certificates) -> None:
    rig = Rig(serving(certificates.ec))
    one = rig.connect()
    one.app.admitted = False
    one.layer.connection_made(one.wire)
    await asyncio.sleep(1.2)
    assert one.wire.is_aborted


@in_memory
async def test_a_client_that_leaves_is_told_apart_from_a_look_at_the_port(
    certificates: Certificates,
) -> None:
    rig = Rig(serving(certificates.ec))
    look, left, gone = (rig.connect(Client(certificates.trusting())) for _ in range(3))
    assert not look.layer.eof_received()
    look.lose()
    assert look.app.events == ["lost"]
    left.comes(left.client.take()[:20])
    left.lose()
    gone.comes(gone.client.take())
    gone.lose()
    await turns()
    for one in (left, gone):
        assert one.app.events == ["ended: the client left within the TLS handshake", "lost"]
    assert (rig.counters.tls_left, rig.counters.tls_handshaking) == (2, 0)


@in_memory
async def test_a_stopping_worker_gives_handshakes_what_it_gives_requests(
    certificates: Certificates,
) -> None:
    rig = Rig(serving(certificates.ec))
    context = certificates.trusting()
    late, quick, now = (rig.connect(Client(context)) for _ in range(3))
    ended: list[float] = []
    quick.app.end_if_idle = ended.append  # type: ignore[attr-defined]
    for one in (late, quick):
        one.app.below.end_if_idle(0.5)
    now.app.below.end_if_idle(0.0)
    assert now.wire.is_aborted
    await rig.settle(quick)
    assert (quick.app.events, ended) == (["made"], [0.5])
    await asyncio.sleep(1)
    assert late.wire.is_aborted
    assert not quick.wire.is_closed


class Reader(asyncio.BufferedProtocol):
    """What is above, once it reads into buffers of its own."""

    def __init__(self, app: App, size: int) -> None:
        self._app = app
        self._buffer = bytearray(size)
        self.reads: list[int] = []

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.reads.append(nbytes)
        self._app.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        return self._app.eof_received()


@pytest.mark.parametrize(("size", "reads"), [(100_000, [80_000, 80_000, 80_000]), (50_000, None)])
def test_what_is_above_may_have_buffers_of_its_own(
    certificates: Certificates, size: int, reads: list[int] | None
) -> None:
    async def test() -> None:
        rig = Rig(serving(certificates.ec))
        one = await rig.shake(certificates.trusting())
        reader = Reader(one.app, size)
        one.layer.set_protocol(reader)
        assert one.layer.get_protocol() is reader
        data = bytes(index % 251 for index in range(240_000))
        one.comes(
            b"".join(one.client.write(data[at : at + 4000]) for at in range(0, 240_000, 4000))
        )
        assert one.app.received == data
        assert reads is None or reader.reads == reads
        assert max(reader.reads) <= size
        one.comes(one.client.write(b"small"))
        one.layer.set_protocol(one.app)  # type: ignore[arg-type]
        one.comes(one.client.write(b" and plain") + one.client.notify())
        assert one.app.received == data + b"small and plain"
        assert one.app.events == ["made", "eof"]

    virtual.run(test())


def test_a_buffer_may_go_when_its_connection_ends(certificates: Certificates) -> None:
    async def test() -> None:
        rig = Rig(serving(certificates.ec))
        one = await rig.shake(certificates.trusting())
        one.layer.set_protocol(Reader(one.app, 1000))
        one.app.on_data = lambda data: one.layer.abort()
        one.comes(one.client.write(bytes(16_000)))
        one.lose()
        assert len(one.app.received) == 1000
        assert one.wire.is_aborted

    virtual.run(test())

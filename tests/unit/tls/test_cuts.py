"""Every byte arrives, wherever the ciphertext is cut, and whoever else is on the same pair of BIOs."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit.certificates import Certificates
from tests.unit.server import virtual
from tests.unit.tls.layered import V12, V13, Client, Connection, Rig, serving, turns

_BROKEN = (
    b"\x16\x03\x01\xff\xff",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello",
    b"\x16\x03",
    b"\x17\x03\x03\x00\x20" + bytes(32) + b"rest that must not reach another",
)
SIZES = st.sampled_from((1, 5, 100, 5_000, 40_000))
CUTS = st.sampled_from((1, 3, 7, 100, 5_000, 100_000))


class Talk:
    """A connection with an echo, and what its client has sent and has not sent yet."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.sent = b""
        self._due = b""
        self._answer = b""
        connection.app.on_data = self._echo

    def _echo(self, data: bytes) -> None:
        self.connection.layer.write(data)

    def say(self, data: bytes) -> None:
        self.sent += data
        self._due += self.connection.client.write(data)

    def send(self, count: int) -> None:
        """Send so many bytes, and take what has come."""
        if self.connection.wire.is_reading:
            part, self._due = self._due[:count], self._due[count:]
            self.connection.comes(part)
        self._due += self.connection.client.take(self.connection.goes())

    async def finish(self) -> None:
        while self._due:
            self.send(1 << 20)
            await turns(1)
        await turns(4)
        self.send(0)


@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_what_is_sent_comes_back(certificates: Certificates, data: st.DataObject) -> None:
    async def test() -> None:
        rig = Rig(serving(certificates.ec))
        contexts = [certificates.trusting(version=version) for version in (V12, V13)]
        talks = [
            Talk(await rig.shake(contexts[data.draw(st.integers(0, 1))]))
            for _ in range(data.draw(st.integers(1, 4)))
        ]
        for _ in range(data.draw(st.integers(1, 30))):
            talk = talks[data.draw(st.integers(0, len(talks) - 1))]
            match data.draw(st.integers(0, 5)):
                case 0:
                    size = data.draw(SIZES)
                    talk.say(bytes((len(talk.sent) + index) % 251 for index in range(size)))
                case 1 | 2:
                    talk.send(data.draw(CUTS))
                case 3:
                    await turns(1)
                case 4:
                    rig.connect().comes(data.draw(st.sampled_from(_BROKEN)))
                case 5:
                    broken = await rig.shake(contexts[data.draw(st.integers(0, 1))])
                    broken.comes(data.draw(st.sampled_from(_BROKEN)))
                    assert not broken.app.received
        for talk in talks:
            await talk.finish()
            assert talk.connection.client.received == talk.sent

    virtual.run(test())


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.integers(1, 400), max_size=20), st.booleans())
def test_a_handshake_may_come_in_any_pieces(
    certificates: Certificates, cuts: list[int], is_old: bool
) -> None:
    async def test() -> None:
        rig = Rig(serving(certificates.ec))
        one = rig.connect(Client(certificates.trusting(version=V12 if is_old else V13)))
        left = iter(cuts)
        due = one.client.take()
        while due or not one.client.is_shaken:
            if one.wire.is_reading:
                count = next(left, 1 << 20)
                one.comes(due[:count])
                due = due[count:]
            await turns(1)
            due += one.client.take(one.goes())
        await turns(4)
        assert one.app.events == ["made"]

    virtual.run(test())

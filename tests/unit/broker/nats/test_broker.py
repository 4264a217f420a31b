"""The broker of one of several hosts."""

from __future__ import annotations

from mpchat.ipc import rooms as kinds
from tests.unit.broker.nats.rig import Scene, scene


@scene
async def test_hosts_talk_over_the_stream(scene: Scene) -> None:
    near, far = scene.host().worker(), scene.host().worker()
    await near.join(b"a")
    await far.join(b"a")
    position = await near.publish(b"a", b"hello", flags=kinds.FROM_MEMBER)
    assert position.offset == 1
    assert await near.receive(1) == await far.receive(1) == [b"hello"]

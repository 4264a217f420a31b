"""Construction on demand, order of starts and stops, clear errors."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from mpchat.components.component import Component, ComponentError, Components
from mpchat.components.connections import Connections
from mpchat.components.list import ComponentList
from mpchat.dynamic_config.keys import Key
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.ipc.messages import Report
from tests.kit.host import FakeHost

RATE = Key("MY_RATE", int, default=10)


@dataclass(frozen=True)
class Plan:
    name: str
    cls: type[Component]
    options: Any


def components_of(*plans: Plan) -> Components:
    return Components(plans, lambda: Snapshot(1, {}, ()), FakeHost())


class Teller(Component):
    """Tells in the list that it has for options what happens to it."""

    def tell(self, what: str) -> None:
        self._options.append(f"{what} {self.name}")


class Base(Teller):
    name = "base"

    async def start(self) -> None:
        self.tell("start")

    async def stop(self) -> None:
        self.tell("stop")

    def on_all_components_loaded(self) -> None:
        self.tell("loaded")


class User(Teller):
    name = "user"

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self.base = components.find(Base)

    async def start(self) -> None:
        self.tell("start")

    async def stop(self) -> None:
        self.tell("stop")

    def on_all_components_are_stopping(self) -> None:
        self.tell("stopping")


class Left(Component):
    name = "left"

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        components.find(Right)


class Right(Component):
    name = "right"

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        components.find(Left)


async def test_dependencies_first_and_stopped_last() -> None:
    told: list[str] = []
    components = components_of(Plan("user", User, told), Plan("base", Base, told))
    components.build()
    await components.start()
    await components.stop()
    assert told == [
        "start base",
        "start user",
        "loaded base",
        "stopping user",
        "stop user",
        "stop base",
    ]


class Hanging(Component):
    name = "hanging"

    async def start(self) -> None:
        await asyncio.sleep(3600)


async def test_one_that_hangs_is_named() -> None:
    components = components_of(Plan("hanging", Hanging, None))
    components.build()
    with pytest.raises(ComponentError, match=r"component hanging did not start within 0\.05 s"):
        await components.start(0.05)


class FailsAtTheEnd(Component):
    name = "fails-at-the-end"

    def on_all_components_are_stopping(self) -> None:
        raise LookupError("nothing to tell")

    async def stop(self) -> None:
        raise LookupError("nothing to stop")


async def test_one_that_fails_to_stop_keeps_no_other_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []
    components = components_of(
        Plan("user", User, told), Plan("base", Base, told), Plan("fails", FailsAtTheEnd, None)
    )
    components.build()
    await components.stop()
    assert told == ["stopping user", "stop user", "stop base"]
    assert [record.getMessage() for record in caplog.records] == [
        "component fails failed when all were about to stop",
        "component fails failed to stop",
    ]


class FailsInTime(Component):
    name = "fails"

    async def start(self) -> None:
        raise TimeoutError("of its own")


async def test_one_that_fails_is_named_with_its_reason() -> None:
    components = components_of(Plan("fails", FailsInTime, None))
    components.build()
    with pytest.raises(ComponentError, match="component fails failed to start: of its own"):
        await components.start()


def test_a_cycle_is_named() -> None:
    components = components_of(Plan("left", Left, None), Plan("right", Right, None))
    with pytest.raises(ComponentError, match="left -> right -> left"):
        components.build()


def test_a_missing_one_is_named_with_who_asked() -> None:
    components = components_of(Plan("user", User, None))
    with pytest.raises(ComponentError, match="no component Base asked for by user"):
        components.build()


def test_a_name_is_taken_once() -> None:
    components = ComponentList().append(Base)
    with pytest.raises(ValueError, match="base"):
        components.append(Base)
    assert components.append(Base, "other") is components


def test_the_config_is_the_one_of_now() -> None:
    snapshots = [Snapshot(1, {}, (RATE,))]
    components = Components([Plan("base", Base, None)], lambda: snapshots[-1], FakeHost())
    (base,) = components.build()
    assert base.config[RATE] == 10
    snapshots.append(Snapshot(2, {"MY_RATE": 20}, (RATE,)))
    assert (base.config.generation, base.config[RATE]) == (2, 20)


SURROGATE = {"user": "a", "reason": "\ud800"}


async def test_connections_are_closed_by_user_or_tag_only() -> None:
    host = FakeHost()
    plans = [Plan(Connections.name, Connections, None)]
    components = Components(plans, lambda: Snapshot(1, {}, ()), host)
    components.build()
    connections = components.find(Connections)
    assert await connections.find() == [{"user": None}]
    assert await connections.close(user="ada", tag="staff", code=3000, reason="bye") == 1
    assert host.reports == [Report(), Report("ada", "staff", 3000, "bye")]
    for wrong in ({}, {"user": "a", "code": 1006}, {"tag": "a", "reason": "é" * 62}, SURROGATE):
        with pytest.raises(ValueError, match="expected"):
            await connections.close(**wrong)
    assert len(host.reports) == 2


def test_a_reload_reaches_every_component(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    class Broken(Base):
        def on_config_update(self) -> None:
            raise LookupError("no such file")

    class Follows(Base):
        def on_config_update(self) -> None:
            self.tell("updated")

    components = components_of(Plan("broken", Broken, told), Plan("follows", Follows, told))
    components.build()
    components.config_updated()
    assert told == ["updated follows"]
    assert "component broken failed to follow the new dynamic config" in caplog.text

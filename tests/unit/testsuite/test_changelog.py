"""userver's tests of its plugin's changelog, by their names, and what is different here."""

from __future__ import annotations

import pytest

from mpchat.testsuite.changelog import Changelog

FOO, FOO_BAR = {"FOO": 1}, {"FOO": 1, "BAR": 1}


class Client:
    """Asks for what has changed since its last answer."""

    def __init__(self, changelog: Changelog) -> None:
        self._changelog = changelog
        self._timestamp = ""

    def ask(self) -> tuple[dict[str, object], list[str]]:
        updates = self._changelog.get_updated_since(self._timestamp)
        self._timestamp = updates.timestamp
        return updates.values, updates.removed


def test_basic() -> None:
    changelog = Changelog(FOO_BAR)
    client = Client(changelog)
    assert client.ask() == (FOO_BAR, [])
    assert client.ask() == ({}, [])
    changelog.commit({"FOO": 2, "BAR": 1})
    assert client.ask() == ({"FOO": 2}, [])
    # userver's service outlives a test: its changes are taken back before those of the next one.
    changelog.commit(FOO_BAR)
    changelog.commit({"FOO": 1, "BAR": 2})
    assert client.ask() == ({"FOO": 1, "BAR": 2}, [])
    assert client.ask() == ({}, [])
    changelog.commit(FOO_BAR)
    changelog.commit({"FOO": 1, "BAR": 2})
    assert client.ask() == ({}, [])


def test_removal() -> None:
    changelog = Changelog(FOO)
    client = Client(changelog)
    assert client.ask() == (FOO, [])
    assert client.ask() == ({}, [])
    changelog.commit({})
    assert client.ask() == ({}, ["FOO"])
    changelog.commit(FOO)
    assert client.ask() == (FOO, [])
    assert client.ask() == ({}, [])
    changelog.commit({"FOO": 1, "BAR": 2})
    assert client.ask() == ({"BAR": 2}, [])
    changelog.commit(FOO)
    assert client.ask() == ({}, ["BAR"])


def test_set_twice() -> None:
    changelog = Changelog(FOO)
    client = Client(changelog)
    assert client.ask() == (FOO, [])
    changelog.commit({"FOO": 2})
    assert client.ask() == ({"FOO": 2}, [])
    changelog.commit(FOO)
    changelog.commit({"FOO": 2})
    assert client.ask() == ({}, [])
    changelog.commit(FOO)
    assert client.ask() == (FOO, [])


def test_times_are_seconds_from_1970() -> None:
    changelog = Changelog(FOO)
    assert changelog.timestamp == "1970-01-01T00:00:00Z"
    for _ in range(60):
        newest = changelog.commit(FOO)
    assert newest == changelog.timestamp == "1970-01-01T00:01:00Z"
    # A time that is none of these is that of another service.
    assert changelog.get_updated_since("2026-01-01T00:00:00Z").values == FOO


def test_ids_select_all_that_is_said() -> None:
    changelog = Changelog({"FOO": 1, "BAR": 1, "OFF": 1})
    begin = changelog.timestamp
    changelog.commit({"FOO": 2}, {"OFF"})
    everything = changelog.get_updated_since(begin)
    assert everything.values == {"FOO": 2}
    assert (everything.removed, everything.kill_switches_disabled) == (["BAR"], ["OFF"])
    one = changelog.get_updated_since(begin, ["BAR", "UNKNOWN"])
    assert (one.values, one.removed, one.kill_switches_disabled) == ({}, ["BAR"], [])


def test_a_kill_switch_that_is_lifted_is_a_change() -> None:
    changelog = Changelog({}, {"FOO"})
    begin = changelog.timestamp
    assert changelog.get_updated_since("").kill_switches_disabled == ["FOO"]
    changelog.commit(FOO)
    assert changelog.get_updated_since(begin).values == FOO
    changelog.commit({})
    # It has never had a value, and is at its default either way; the client has to hear of it.
    assert changelog.get_updated_since(begin).removed == ["FOO"]


def test_a_state_is_of_its_own_and_of_json() -> None:
    values = {"FOO": [1]}
    changelog = Changelog(values)
    values["FOO"].append(2)
    assert changelog.get_updated_since("").values == {"FOO": [1]}
    with pytest.raises(TypeError):
        changelog.commit({"FOO": object()})


def test_a_value_of_another_type_is_a_change() -> None:
    changelog = Changelog(FOO)
    begin = changelog.timestamp
    changelog.commit({"FOO": True})
    assert changelog.get_updated_since(begin).values == {"FOO": True}

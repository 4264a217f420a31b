"""Editions: what is current, what a restart goes back to, and that no memfd is left or closed twice."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat.ipc import messages
from mpchat.linux.memfd import sealed_memfd
from mpchat.supervisor.editions import Editions, Loaded, refusal

GRACE = 2.0
LISTENER = {
    "address": None,
    "port": 8080,
    "unix_socket": None,
    "unix_socket_permissions": None,
    "backlog": 100,
}
PLAN = messages.Plan(
    pool="main",
    workers=2,
    listener=LISTENER,
    log_path="@stderr",
    log_format="raw",
    log_level=20,
    path="/chat",
    stop_limit=5.0,
    hang_timeout=20.0,
    max_lifetime=None,
    version="1.0",
)


def loaded(**changes: Any) -> Loaded:
    plan = replace(PLAN, **changes)
    static, generation, certificates = (sealed_memfd(name, b"") for name in ("a", "b", "c"))
    return Loaded(plan, static, generation, certificates, "/srv")


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_promoted_edition_is_current_and_the_limits_are_those_of_both() -> None:
    editions = Editions(GRACE, loaded(stop_limit=5.0, max_lifetime=60.0))
    assert (editions.edition, editions.generation, editions.is_moving) == (1, 1, False)
    assert (editions.stop_limit, editions.max_lifetime) == (7.0, 60.0)
    editions.promote(loaded(stop_limit=3.0))
    assert (editions.edition, editions.generation, editions.is_moving) == (2, 2, True)
    assert editions.settled.number == 1
    assert (editions.stop_limit, editions.max_lifetime) == (7.0, None)
    editions.settle()
    assert (editions.edition, editions.is_moving) == (2, False)
    assert editions.stop_limit == 5.0


def test_a_revert_brings_everything_back_and_numbers_are_not_used_again() -> None:
    editions = Editions(GRACE, loaded(max_lifetime=60.0))
    editions.renew_generation(sealed_memfd("b", b""), sealed_memfd("c", b""), [], 9.0)
    before = replace(editions.current)
    editions.promote(loaded(stop_limit=100.0))
    rejected = editions.current
    editions.revert()
    assert editions.current == before
    assert (editions.generation, editions.stop_limit, editions.max_lifetime) == (2, 11.0, 60.0)
    assert not is_open(rejected.static_config)
    assert not is_open(rejected.generation.memfd)
    editions.promote(loaded())
    assert (editions.edition, editions.generation) == (3, 4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"listener": {**LISTENER, "backlog": 7}, "workers": 9, "path": "/"}, ""),
        ({"listener": {**LISTENER, "port": 1}}, "the listener's port has changed from 8080 to 1:"),
        (
            {"listener": {**LISTENER, "unix_socket": "/run/s"}},
            "the listener's unix-socket has changed from none to /run/s:",
        ),
        ({"control_socket": "/run/c"}, "control-socket has changed from none to /run/c:"),
    ],
)
def test_a_restart_takes_no_plan_that_needs_other_sockets(
    changes: dict[str, Any], reason: str
) -> None:
    found = refusal(PLAN, replace(PLAN, **changes))
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["promote", "revert", "settle", "renew"]), max_size=30))
def test_no_memfd_is_left_behind_or_missing(steps: list[str]) -> None:
    opened: set[int] = set()

    def take(new: Loaded) -> Loaded:
        opened.update((new.static_config, new.memfd, new.certificates))
        return new

    editions = Editions(GRACE, take(loaded()))
    for step in steps:
        if step == "promote" and not editions.is_moving:
            editions.promote(take(loaded()))
        elif step == "revert" and editions.is_moving:
            editions.revert()
        elif step == "settle" and editions.is_moving:
            editions.settle()
        elif step == "renew" and not editions.is_moving:
            memfd, certificates = sealed_memfd("b", b""), sealed_memfd("c", b"")
            opened |= {memfd, certificates}
            editions.renew_generation(memfd, certificates, [], 1.0)
        kept = (editions.settled, editions.current)
        held = {
            fd
            for e in kept
            for fd in (e.static_config, e.generation.memfd, e.generation.certificates)
        }
        assert {fd for fd in opened if is_open(fd)} == held
    if editions.is_moving:
        editions.revert()
    editions.current.release()
    assert not any(is_open(fd) for fd in opened)

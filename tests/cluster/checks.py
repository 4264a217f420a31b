"""Three hosts with one set of rooms, each with a server of NATS, behind HAProxy: `make cluster-test`.

Not named as tests are, so that `make test` leaves it out: it needs root and network namespaces. With
CLIENTS=3000 it is the long form.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.chaos.sightings import Notes
from tests.cluster import oracle
from tests.cluster.cluster import Cluster
from tests.cluster.oracle import Loss

SHORT = 300
CLIENTS = int(os.environ.get("CLIENTS", SHORT))
IN_FULL = CLIENTS > SHORT
WINDOW = 10.0 if IN_FULL else 2.0
"""Seconds over which a host sends its clients away."""
WITHOUT_NATS = 30.0 if IN_FULL else 8.0
"""Seconds that a server of NATS is away: longer than the others take to choose another leader."""
WITHOUT_NETWORK = 60.0 if IN_FULL else 15.0
UNEQUAL = 30.0 if IN_FULL else 0.0
"""Seconds over which clients give up a host that is lost"""
AFTER = 10.0 if IN_FULL else 3.0
"""Seconds in which clients talk when all is well again."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), WINDOW) as cluster:
        yield cluster


def assert_none(failures: list[str], notes: Notes, cluster: Cluster) -> None:
    print(oracle.numbers(notes))
    failures += cluster.tracebacks()
    if failures:
        with (cluster.folder / "notes").open("w") as file:
            notes.write(file)
    assert not failures, f"logs and notes are in {cluster.folder}"


def test_a_server_of_nats_is_killed_and_comes_back(cluster: Cluster) -> None:
    leader = cluster.leader()
    with cluster.talking(CLIENTS) as notes:
        leader.nats.kill()
        time.sleep(WITHOUT_NATS)
        leader.nats.start()
        cluster.wait_whole()
        time.sleep(AFTER)
    assert_none(
        oracle.all_and_once(notes) + oracle.none_refused(notes) + oracle.none_ended(notes),
        notes,
        cluster,
    )


def test_a_host_loses_its_network_and_comes_back(cluster: Cluster) -> None:
    lost = cluster.leader()
    with cluster.talking(CLIENTS, UNEQUAL) as notes:
        cluster.network.cut(lost.machine)
        loss = Loss(lost.mark, time.monotonic())
        time.sleep(WITHOUT_NETWORK)
        cluster.network.mend(lost.machine)
        cluster.wait_whole()
        back = time.monotonic()
        time.sleep(AFTER)
    assert_none(
        oracle.all_and_once(notes)
        + oracle.none_refused(notes, loss)
        + oracle.none_ended(notes, loss=loss)
        + oracle.back_in_time(notes, loss)
        + oracle.served(notes, lost.mark, back),
        notes,
        cluster,
    )


def test_each_host_is_drained_updated_and_brought_back(cluster: Cluster) -> None:
    drained = []
    with cluster.talking(CLIENTS) as notes:
        for host in cluster.hosts:
            drained.append(host.mark)
            assert host.stop() == 0
            cluster.wait_connected(CLIENTS)
            host.start()
            host.wait_ready()
            cluster.wait_whole()
            time.sleep(AFTER)
    failures = oracle.all_and_once(notes) + oracle.none_refused(notes)
    failures += oracle.none_ended(notes, drained)
    for mark in drained:
        failures += oracle.back_at_once(notes, mark)
    for host in cluster.hosts:
        failures += oracle.served(notes, host.mark)
    assert_none(failures, notes, cluster)

"""Packets of rows: whole, small, and the last one known as such."""

from __future__ import annotations

import json
import os

from hypothesis import given
from hypothesis import strategies as st

from mpchat.ipc.reports import PACKET_BYTES, packets


@given(st.lists(st.text(max_size=3000), max_size=60))
def test_all_rows_are_in_packets_that_any_socket_takes(paths: list[str]) -> None:
    sent = [json.loads(packet) for packet in packets({"path": path} for path in paths)]
    assert [row["path"] for packet in sent for row in packet["rows"]] == paths
    assert [packet["last"] for packet in sent] == [False] * (len(sent) - 1) + [True]
    assert {packet["pid"] for packet in sent} == {os.getpid()}
    largest = max((len(json.dumps({"path": path})) for path in paths), default=0)
    assert all(
        len(packet) <= max(PACKET_BYTES, largest) + 100
        for packet in packets({"path": path} for path in paths)
    )

"""The rooms' history: memory taken in full before it is promised, or an error that says what to do."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from mpchat.errors import ExitCode, StartError
from mpchat.linux import system
from mpchat.linux.memory import Bound
from mpchat.supervisor import history
from mpchat.supervisor.history import Histories
from tests.kit.descriptors import descriptors_open

MIB = 1024 * 1024


def test_a_file_has_all_its_memory_and_keeps_its_size() -> None:
    histories = Histories()
    histories.prepare(MIB)
    descriptor = histories.of(MIB)
    assert descriptor is not None
    assert os.fstat(descriptor).st_blocks * 512 >= MIB
    os.pwrite(descriptor, b"kept", 0)
    for size in (0, 2 * MIB):
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, size)
    histories.prepare(MIB)
    assert histories.of(MIB) == descriptor
    histories.keep_only(None)


@pytest.mark.parametrize("size", [None, 0])
def test_without_history_there_is_no_file(size: int | None) -> None:
    before = descriptors_open()
    histories = Histories()
    histories.prepare(size)
    assert histories.of(size) is None
    assert descriptors_open() == before


def test_a_file_of_another_size_stays_until_it_is_not_kept() -> None:
    before = descriptors_open()
    histories = Histories()
    histories.prepare(MIB)
    histories.prepare(2 * MIB)
    assert histories.of(MIB) != histories.of(2 * MIB)
    histories.keep_only(2 * MIB)
    assert histories.of(MIB) is None
    assert histories.of(2 * MIB) is not None
    histories.keep_only(0)
    assert descriptors_open() == before


def test_too_little_memory_is_told_in_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = Bound(10 * MIB, "the control group /sys/fs/cgroup/chat (memory.max)")
    monkeypatch.setattr(history, "smallest_bound", lambda: bound)
    with pytest.raises(StartError) as raised:
        Histories().prepare(64 * MIB)
    assert raised.value.exit_code == ExitCode.OS
    assert str(raised.value) == (
        "the rooms' history needs 64.0 MiB (history-memory), and the control group "
        "/sys/fs/cgroup/chat (memory.max) has 10.0 MiB left: set history-memory below that, or give "
        "the service more memory (MemoryMax= of the unit)"
    )
    histories = Histories()
    histories.prepare(10 * MIB)
    histories.keep_only(None)


def test_what_the_system_refuses_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = descriptors_open()
    for name in ("posix_fallocate", "memfd_create"):
        with monkeypatch.context() as patch:
            patch.setattr(system, name, refuse)
            with pytest.raises(
                StartError, match=r"refuses the 1\.0 MiB .* No space left"
            ) as raised:
                Histories().prepare(MIB)
            assert raised.value.exit_code == ExitCode.OS
    assert descriptors_open() == before
    # A file that cannot be sealed is still a history.
    monkeypatch.setattr(system, "fcntl", refuse)
    histories = Histories()
    histories.prepare(MIB)
    assert histories.of(MIB) is not None
    histories.keep_only(None)

"""The table of descriptors is large from the start, and some descriptors are kept in reserve."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from unittest.mock import Mock

import pytest

from mpchat.linux import system
from mpchat.linux.descriptors import Spare
from tests.kit.descriptors import descriptors_open

CODE = """
import resource, sys
from mpchat.linux.descriptors import grow_descriptor_table

_soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), hard))
with open("/proc/self/status") as status:
    grow_descriptor_table(status.fileno())
    print(next(line.split()[1] for line in status if line.startswith("FDSize:")))
"""


@pytest.mark.parametrize(("limit", "size"), [(1000, 1024), (4096, 4096)])
def test_it_grows_to_the_limit_of_the_process(limit: int, size: int) -> None:
    program = [sys.executable, "-c", CODE, str(limit)]
    assert int(subprocess.run(program, check=True, capture_output=True).stdout) == size


def test_spare_descriptors_are_free_while_a_message_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors_open()
    refused = OSError(errno.EMFILE, "Too many open files")
    spare = Spare(3)
    assert descriptors_open() == before + 3
    with spare:
        assert descriptors_open() == before
        assert spare._descriptors == []
    assert spare.is_available()
    with monkeypatch.context() as patched, spare:
        answers = [os.open(os.devnull, os.O_RDONLY), refused]
        patched.setattr(system, "open", Mock(side_effect=answers))
    assert descriptors_open() == before + 1
    with monkeypatch.context() as patched:
        patched.setattr(system, "open", Mock(side_effect=refused))
        assert not spare.is_available()
    assert spare.is_available()
    assert descriptors_open() == before + 3
    spare.__enter__()


def test_a_reserve_that_cannot_be_whole_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors_open()
    refused = OSError(errno.EMFILE, "Too many open files")
    answers = [os.open(os.devnull, os.O_RDONLY), refused]
    monkeypatch.setattr(system, "open", Mock(side_effect=answers))
    with pytest.raises(OSError, match="Too many open files"):
        Spare(2)
    assert descriptors_open() == before

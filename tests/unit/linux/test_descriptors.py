"""The table of descriptors is as large from the start as it may get, within reason."""

from __future__ import annotations

import subprocess
import sys

import pytest

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

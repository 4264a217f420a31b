"""The allocator keeps what the next large message needs."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import resource, sys
from mpchat.worker.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
blocks = [b"x" * (1024 * 1024) for _ in range(4)]
blocks.clear()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    blocks = [b"x" * (1024 * 1024) for _ in range(4)]
    blocks.clear()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    result = subprocess.run(
        [sys.executable, "-c", CODE, mode], capture_output=True, text=True, check=True
    )
    return int(result.stdout)


def test_large_messages_do_not_fault_their_pages_in_again() -> None:
    assert faults("kept") * 10 < faults("given back")

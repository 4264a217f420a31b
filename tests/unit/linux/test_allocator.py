"""The allocator keeps what the next large message needs, and no more than that."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import resource, sys
from mpchat.linux.allocator import Allocator

if sys.argv[1] == "kept":
    Allocator().keep_freed_memory()
blocks = [b"x" * (1024 * 1024) for _ in range(4)]
blocks.clear()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    blocks = [b"x" * (1024 * 1024) for _ in range(4)]
    blocks.clear()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

PINNED = """
import os, resource
from mpchat.linux.allocator import Allocator

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

allocator = Allocator()
allocator.keep_freed_memory()
blocks, pins = [], []
for _ in range(1000):
    blocks.append(b"x" * 100_000)
    # Nothing below it can be given back by lowering the heap's end.
    pins.append(b"x" * 1000)
seen = [resident()]
for _ in range(20):
    allocator.return_unused()
seen.append(resident())
blocks.clear()
allocator.return_unused()
seen.append(resident())
for _ in range(20):
    allocator.return_unused()
seen.append(resident())
# Memory that is taken and freed all the time stays, whatever a look happens to find.
for round in range(20):
    blocks = [b"x" * 100_000 for _ in range(500)]
    if round == 5:
        before = faults()
    allocator.return_unused()
    blocks.clear()
    if round % 5 != 4:
        allocator.return_unused()
print(*seen, faults() - before)
"""


def run(code: str, *arguments: str) -> list[int]:
    """Return the numbers that this code prints in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(word) for word in result.stdout.split()]


def faults(mode: str) -> int:
    return run(CODE, mode)[0]


def test_large_messages_do_not_fault_their_pages_in_again() -> None:
    assert faults("kept") * 10 < faults("given back")


def test_what_was_not_used_for_a_while_is_given_back() -> None:
    full, looked_at, freed, later, faulted_again = run(PINNED)
    assert looked_at >= full - 1
    assert freed >= full - 1
    assert later < full - 70
    assert faulted_again < 1000

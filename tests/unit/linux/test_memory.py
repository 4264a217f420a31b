"""What may still be taken: every ancestor's limit counts, of both versions, and the machine's memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.linux.memory import Bound, smallest_bound

MIB = 1024 * 1024
MOUNT_V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
MOUNT_V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
MACHINE = "the machine's free memory (MemAvailable)"


class Tree:
    """A /proc and a /sys of our own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def machine(self, available: int) -> None:
        self.write("proc/meminfo", f"MemTotal:  9 kB\nMemAvailable: {available // 1024} kB\n")

    def v2(self, path: str, used: int, stat: str = "", **limits: int | str) -> None:
        folder = f"sys/fs/cgroup{path}"
        self.write(f"{folder}/memory.current", f"{used}\n")
        self.write(f"{folder}/memory.stat", stat)
        for name, limit in ({"max": "max", "high": "max"} | limits).items():
            self.write(f"{folder}/memory.{name}", f"{limit}\n")

    def v1(self, path: str, used: int, limit: int = 2**63 - 4096, stat: str = "") -> None:
        folder = f"sys/fs/cgroup/memory{path}"
        self.write(f"{folder}/memory.usage_in_bytes", f"{used}\n")
        self.write(f"{folder}/memory.stat", stat)
        self.write(f"{folder}/memory.limit_in_bytes", f"{limit}\n")

    def bound(self) -> Bound | None:
        return smallest_bound(f"{self.folder}/")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_what_cannot_be_read_sets_no_bound(tree: Tree) -> None:
    assert tree.bound() is None
    tree.write("proc/self/mountinfo", "nonsense\n1 2 3 - cgroup2\n" + MOUNT_V2)
    tree.write("proc/self/cgroup", "nonsense\n0::/a\n")
    assert tree.bound() is None
    tree.machine(5 * MIB)
    assert tree.bound() == Bound(5 * MIB, MACHINE)


def test_every_ancestor_of_version_2_counts(tree: Tree) -> None:
    tree.machine(900 * MIB)
    tree.write("proc/self/mountinfo", MOUNT_V2)
    tree.write("proc/self/cgroup", "0::/system.slice/chat.service\n")
    tree.v2("/system.slice/chat.service", 10 * MIB)
    assert tree.bound() == Bound(900 * MIB, MACHINE)
    tree.v2("/system.slice/chat.service", 10 * MIB, max=200 * MIB)
    by = "the control group /sys/fs/cgroup/system.slice/chat.service (memory.max)"
    assert tree.bound() == Bound(190 * MIB, by)
    tree.v2("/system.slice", 100 * MIB, high=150 * MIB)
    by = "the control group /sys/fs/cgroup/system.slice (memory.high)"
    assert tree.bound() == Bound(50 * MIB, by)
    tree.v2("", 100 * MIB, max=110 * MIB)
    assert tree.bound() == Bound(10 * MIB, "the control group /sys/fs/cgroup (memory.max)")


def test_every_ancestor_of_version_1_counts(tree: Tree) -> None:
    tree.write("proc/self/mountinfo", MOUNT_V1)
    tree.write("proc/self/cgroup", "5:cpu:/\n4:memory,hugetlb:/docker/abc\n0::/elsewhere\n")
    tree.v1("/docker/abc", 10 * MIB)
    assert tree.bound() is None
    tree.v1("/docker/abc", 10 * MIB, 30 * MIB)
    by = "the control group /sys/fs/cgroup/memory/docker/abc (memory.limit_in_bytes)"
    assert tree.bound() == Bound(20 * MIB, by)
    tree.v1("/docker", 10 * MIB, 15 * MIB)
    by = "the control group /sys/fs/cgroup/memory/docker (memory.limit_in_bytes)"
    assert tree.bound() == Bound(5 * MIB, by)


def test_pages_of_files_are_given_up_first(tree: Tree) -> None:
    tree.write("proc/self/mountinfo", MOUNT_V2)
    tree.write("proc/self/cgroup", "0::/a\n")
    # Shared memory counts as file, but nobody can take it back.
    stat = (
        f"anon 5\nfile {90 * MIB}\nshmem {50 * MIB}\ninactive_file {30 * MIB}\nactive_file {MIB}\n"
    )
    tree.v2("/a", 95 * MIB, stat, max=100 * MIB)
    by = "the control group /sys/fs/cgroup/a (memory.max)"
    assert tree.bound() == Bound(36 * MIB, by)
    # A limit below what is used already leaves nothing.
    tree.v2("/a", 95 * MIB, max=10 * MIB)
    assert tree.bound() == Bound(0, by)


@pytest.mark.parametrize(
    ("top", "group"),
    [
        ("/docker/abc", "/docker/abc"),
        ("/docker/abc", "/docker/abcd"),
        ("/docker/abc", "/elsewhere"),
        ("/", "/../../other"),
        ("/", "/"),
    ],
)
def test_in_a_container_the_top_is_what_is_seen(tree: Tree, top: str, group: str) -> None:
    mount = MOUNT_V2.replace(" / ", f" {top} ", 1)
    tree.write("proc/self/mountinfo", mount)
    tree.write("proc/self/cgroup", f"0::{group}\n")
    tree.v2("", 1 * MIB, max=2 * MIB)
    assert tree.bound() == Bound(1 * MIB, "the control group /sys/fs/cgroup (memory.max)")


def test_a_mount_point_may_have_any_name(tree: Tree) -> None:
    mount = MOUNT_V2.replace("/sys/fs/cgroup", "/sys/fs/my\\040groups")
    tree.write("proc/self/mountinfo", mount)
    tree.write("proc/self/cgroup", "0::/a\n")
    tree.write("sys/fs/my groups/a/memory.current", "1\n")
    tree.write("sys/fs/my groups/a/memory.max", "3\n")
    assert tree.bound() == Bound(2, "the control group /sys/fs/my groups/a (memory.max)")


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_no_text_breaks_it(
    tmp_path_factory: pytest.TempPathFactory, groups: str, mounts: str, info: str
) -> None:
    tree = Tree(tmp_path_factory.getbasetemp() / "texts")
    tree.write("proc/self/cgroup", groups)
    tree.write("proc/self/mountinfo", mounts)
    tree.write("proc/meminfo", info)
    tree.bound()

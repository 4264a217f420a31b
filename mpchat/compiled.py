"""The compiled form of the hot path: which modules have one, and whether this process uses it.

Rules. The source is the one truth: each of these modules runs interpreted as well. hatch_build.py
compiles them into ``_compiled``, with one manifest for each kind of CPython, which holds the digest of
all their sources. The compiled form is used for all of them or for none, and only while that digest is
the one of the sources as they are. Every process imports this module first, so it imports little.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import source_hash, spec_from_file_location
from types import ModuleType
from typing import NamedTuple

MODULES = (
    "mpchat.ipc.framing",
    "mpchat.ipc.numbers",
    "mpchat.rooms.link",
    "mpchat.rooms.message",
    "mpchat.rooms.publishing",
    "mpchat.rooms.stream",
    "mpchat.rooms.subscription",
    "mpchat.scoreboard.histogram",
    "mpchat.scoreboard.traffic",
    "mpchat.tls.layer",
    "mpchat.tls.outlet",
    "mpchat.tls.records",
    "mpchat.tls.shaking",
    "mpchat.tls.worker",
    "mpchat.websocket.batch",
    "mpchat.websocket.broadcast",
    "mpchat.websocket.budget",
    "mpchat.websocket.direct",
    "mpchat.websocket.incoming",
    "mpchat.websocket.life",
    "mpchat.websocket.messages",
    "mpchat.websocket.outgoing",
    "mpchat.websocket.parser",
    "mpchat.websocket.payload",
    "mpchat.websocket.protocol",
    "mpchat.websocket.stepping",
    "mpchat.websocket.timers",
    "mpchat.websocket.turn",
)
"""Each has a .pxd with its types beside it. A .pyx is compiled in place of the .py that does the same."""
TYPES = ("mpchat.websocket.awaitables",)
"""Other .pxd that they use."""
FOLDER = "_compiled"
SWITCH = "MPCHAT_COMPILED"
"""Environment variable: 0 has everything interpreted; with 1 it is an error if it is not compiled."""
SUFFIX = EXTENSION_SUFFIXES[0]
MANIFEST = f"manifest{os.path.splitext(SUFFIX)[0]}"
"""The digest of the sources, and in a second line why nothing was compiled, if so."""
_KINDS = (".pyx", ".py", ".pxd")


class Form(NamedTuple):
    """How the hot path runs in this process."""

    compiled: bool
    why_not: str = ""
    """Why it is interpreted"""
    wanted: bool = False
    """It is interpreted on purpose"""

    def __str__(self) -> str:
        return "compiled" if self.compiled else f"interpreted: {self.why_not}"


class Finder:
    """Finds the compiled form of the modules."""

    def __init__(self, folder: str) -> None:
        self._files = {name: os.path.join(folder, name + SUFFIX) for name in MODULES}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As ``importlib.abc.MetaPathFinder``."""
        file = self._files.get(name)
        if file is None:
            return None
        return spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))


def use_compiled(package: str, environment: Mapping[str, str]) -> Form:
    """Have the modules imported in their compiled form, if there is a true one.

    Raises:
        ImportError: The environment asks for what cannot be had.
    """
    form = _form(package, environment.get(SWITCH, ""))
    if form.compiled:
        sys.meta_path.insert(0, Finder(os.path.join(package, FOLDER)))
    return form


def _form(package: str, switch: str) -> Form:
    if switch not in {"", "0", "1"}:
        raise ImportError(f"{SWITCH}={switch}: expected 0, 1 or nothing")
    if switch == "0":
        return Form(False, f"{SWITCH}=0", wanted=True)
    why_not = _why_not(package)
    if why_not and switch == "1":
        raise ImportError(f"{SWITCH}=1, but {why_not}")
    return Form(not why_not, why_not)


def _why_not(package: str) -> str:
    try:
        with open(os.path.join(package, FOLDER, MANIFEST), encoding="utf-8") as file:
            built_from, _newline, failure = file.read().strip().partition("\n")
    except FileNotFoundError:
        return f"it was not compiled for this Python ({MANIFEST.partition('.')[2]})"
    if failure:
        return f"it was not compiled: {failure}"
    if built_from != digest(package):
        return (
            "its source has changed since it was compiled; `make serve` and `make test` compile it "
            "again, as installing does"
        )
    return ""


def digest(package: str) -> str:
    """Return the digest of all sources, as the manifest has it."""
    parts = []
    for file in sources(package):
        with open(file, "rb") as opened:
            content = opened.read()
        parts += [os.path.relpath(file, package).encode(), b"%d" % len(content), content]
    return source_hash(b"\n".join(parts)).hex()


def sources(package: str) -> list[str]:
    """Return the files that the modules are made from."""
    stems = [os.path.join(package, *name.split(".")[1:]) for name in (*MODULES, *TYPES)]
    files = [stem + kind for stem in stems for kind in _KINDS]
    return [file for file in files if os.path.exists(file)]

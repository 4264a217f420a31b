"""Compiles the hot path when the package is built: into the wheel, or the checkout if that is editable.

Rules. mpchat/compiled.py says what is compiled and where it goes. Without a C compiler the package is
built all the same, and runs interpreted. Environment variable MPCHAT_COMPILE: 1 makes that an error, 0
compiles nothing. What is compiled is kept in build/compiled by the digest of all that it is made from, as
is the C code, which all compilers and flags have in common.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import runpy
import shlex
import shutil
import subprocess
import sysconfig
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from Cython.Compiler import Main
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

DIRECTIVES = {
    "language_level": 3,
    "binding": True,
    "annotation_typing": False,
    "auto_pickle": False,
}
"""Types come from the .pxd alone. Bounds are checked but where a source says otherwise.

Nothing pickles these classes, and the methods for it are a fifth of what the C compiler does.
"""
FLAGS = ("-O1", "-DNDEBUG", "-fwrapv", "-fPIC", "-shared", "-fvisibility=hidden")
"""-O3 takes twice as long, and saves 3 % of the instructions. The loops of payload.pyx ask for it."""

WAY_OUT = "MPCHAT_COMPILE=0 installs mpchat without compiling it"


class NoCompiler(Exception):
    """Nothing can be compiled here; the text says why."""


class CompileHook(BuildHookInterface[Any]):
    """Adds the compiled form to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """As hatchling says; ``version`` is "standard" or "editable"."""
        mode = os.environ.get("MPCHAT_COMPILE", "")
        if mode not in {"", "0", "1"}:
            raise ValueError(f"MPCHAT_COMPILE={mode}: expected 0, 1 or nothing")
        build = Build(Path(self.root))
        failure = "MPCHAT_COMPILE was 0" if mode == "0" else build.compile()
        if failure and mode == "1":
            raise RuntimeError(f"MPCHAT_COMPILE=1, but {failure}")
        if failure and mode != "0":
            self.app.display_warning(f"mpchat will run interpreted, much slower: {failure}")
        files = build.finish(failure)
        if version == "editable":
            _install(files, Path(self.root))
        else:
            build_data["force_include"].update({str(made): to for to, made in files.items()})
            build_data["pure_python"] = bool(failure)
            build_data["infer_tag"] = not failure


class Build:
    """One compilation of all modules, for the Python that runs it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._facts = runpy.run_path(str(root / "mpchat" / "compiled.py"))
        self._package = root / "mpchat"
        self._translated = root / "build" / "compiled"
        self._kept = self._translated
        self._made: dict[str, Path] = {}
        # Cython keeps state for its process.
        self._cython = threading.Lock()

    def compile(self) -> str:
        """Compile what has changed; return why that is impossible here, or nothing.

        Raises:
            RuntimeError: A source does not compile.
        """
        names = self._facts["MODULES"]
        try:
            compiler = _compiler()
        except NoCompiler as error:
            return str(error)
        # Each Python and each set of flags keeps its own.
        self._kept /= _digest([shlex.join(compiler).encode()])
        self._kept.mkdir(parents=True, exist_ok=True)
        # Cython is faster in one process than in many, and writes the next module meanwhile.
        with contextlib.chdir(self._root), ThreadPoolExecutor() as pool:
            made = pool.map(lambda name: self._module(name, compiler), names)
            self._made = dict(zip(names, made, strict=True))
        return ""

    def finish(self, failure: str) -> dict[str, Path]:
        """Write the manifest; return all files by their place below the top folder."""
        self._kept.mkdir(parents=True, exist_ok=True)
        manifest = self._kept / self._facts["MANIFEST"]
        manifest.write_text(f"{self._facts['digest'](str(self._package))}\n{failure}\n")
        folder = f"mpchat/{self._facts['FOLDER']}"
        files = {f"{folder}/{name}{self._facts['SUFFIX']}": x for name, x in self._made.items()}
        # The last: who finds it finds the modules.
        return files | {f"{folder}/{manifest.name}": manifest}

    def _module(self, name: str, compiler: list[str]) -> Path:
        """Return the compiled module, made now or before."""
        stem = self._root.joinpath(*name.split("."))
        source = stem.with_suffix(".pyx")
        if not source.exists():
            source = stem.with_suffix(".py")
        digest = self._made_from(source)
        made = self._kept / f"{name}.{digest}{self._facts['SUFFIX']}"
        if made.exists():
            return made
        _remove(self._kept.glob(f"{name}.*{self._facts['SUFFIX']}"))
        c_file, partial = self._translated / f"{name}.{digest}.c", made.with_suffix(".partial")
        with self._cython:
            if not c_file.exists():
                _remove(self._translated.glob(f"{name}.*.c"))
                # As a path of the top folder: tracebacks and the names of types come from it.
                _translate(source.relative_to(self._root), c_file, name)
        _run([*compiler, str(c_file), "-o", str(partial)], self._root)
        partial.rename(made)
        return made

    def _made_from(self, source: Path) -> str:
        """Return the digest of a module's source, of everybody's types, and of how it is compiled."""
        types = sorted(self._package.rglob("*.pxd"))
        parts = [file.read_bytes() for file in (source, *types, Path(__file__))]
        return _digest([*parts, importlib.metadata.version("Cython").encode()])


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _digest(parts: list[bytes]) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _install(files: dict[str, Path], root: Path) -> None:
    """Put them into the checkout. Running processes keep the files that they have loaded."""
    targets = {root / place: made for place, made in files.items()}
    *_modules, manifest = targets
    manifest.parent.mkdir(exist_ok=True)
    manifest.unlink(missing_ok=True)
    for old in manifest.parent.glob(f"*.{manifest.name.partition('.')[2]}.*"):
        old.unlink()
    for target, made in targets.items():
        shutil.copyfile(made, target)


def _compiler() -> list[str]:
    """Return the C compiler with its flags.

    Raises:
        NoCompiler: It is missing, or what Python needs for it.
    """
    command = shlex.split(os.environ.get("CC", "") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(command[0]) is None:
        if os.environ.get("CC") or shutil.which("cc") is None:
            raise NoCompiler(f"there is no C compiler ({command[0]})")
        command = ["cc"]
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").exists():
        raise NoCompiler(f"there is no Python.h in {include}")
    return [*command, *FLAGS, f"-I{include}", *shlex.split(os.environ.get("CFLAGS", ""))]


def _translate(source: Path, c_file: Path, name: str) -> None:
    """Write the C file of a module.

    Raises:
        RuntimeError: The source does not compile; Cython has written why to stderr.
    """
    partial = c_file.with_suffix(".partial")
    done = Main.compile(
        str(source),
        full_module_name=name,
        output_file=str(partial),
        compiler_directives=DIRECTIVES,
    )
    if done.num_errors:
        raise RuntimeError(f"{source} does not compile\n{WAY_OUT}")
    partial.rename(c_file)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = f"{done.stdout}{done.stderr}".strip()
        raise RuntimeError(f"{shlex.join(command)}: exit code {done.returncode}\n{said}\n{WAY_OUT}")

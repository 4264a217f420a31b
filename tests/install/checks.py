"""Installing: with and without a C compiler, again after an edit, and deploy/Dockerfile step by step."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename

from mpchat.compiled import FOLDER, MODULES, SUFFIX
from mpchat.testsuite.clients import WebsocketClient
from mpchat.testsuite.service import Service
from tests.docs.pages import ROOT
from tests.install.image import build, make_context


class Environment:
    """A virtual environment without the package."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.path = os.environ["PATH"]
        """Where its pip looks for a compiler"""

    def pip(self, *arguments: str, check: bool = True, **variables: str) -> str:
        """Run pip, and return what it says."""
        ours = [sys.executable, "-m", "pip", "--python", str(self.folder / "bin" / "python")]
        command = [*ours, *arguments]
        # Whoever runs this may insist on a compiled form in the checkout. What is compiled, by pip and
        # by the C compiler, is not what these tests are about.
        quick = {"PIP_NO_COMPILE": "1", "CFLAGS": "-O0"}
        variables = {"PATH": self.path, "MPCHAT_COMPILE": "", **quick} | variables
        done = subprocess.run(
            command,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(done.stdout)
        return done.stdout

    def run(self, program: str, *arguments: str) -> str:
        """Run one of its programs where no checkout is in its way, and return what it says."""
        command = [str(self.folder / "bin" / program), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout

    def form(self) -> str:
        """Return what the command says of its form."""
        return self.run("mpchat", "--version").strip().partition(", ")[2]

    async def assert_serves(self, folder: Path, form: str) -> None:
        """Have it echo a message, and say its form."""
        for file in ("static_config.yaml", "dynamic_config_fallback.json"):
            shutil.copy(ROOT / file, folder)
        config = folder / "static_config.yaml"
        config.write_text(config.read_text().replace("port: 8080", "port: 0"))
        command = [str(self.folder / "bin" / "mpchat"), "serve", "-c", str(config)]
        service = Service(command, folder)
        try:
            service.wait_ready()
            async with WebsocketClient(service.port).get("chat") as chat:
                await chat.send("1")
                assert await chat.recv() == "1"
            assert f"the hot path is {form}" in service.stderr()
        finally:
            service.close()


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "venv")


@pytest.fixture
def sdist() -> str:
    """The source distribution that ``make wheel`` has built."""
    return str(max((ROOT / "dist").glob("mpchat-*.tar.gz"), key=lambda path: path.stat().st_mtime))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What git has, without what is compiled."""
    target = tmp_path / "checkout"
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, files):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, place)
    return target


@pytest.fixture
def without_compiler(tmp_path: Path) -> str:
    """A PATH on which everything is found but a C compiler."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for place in map(Path, os.environ["PATH"].split(":")):
        for tool in place.iterdir() if place.is_dir() else ():
            is_compiler = any(word in tool.name for word in ("cc", "gcc", "clang", "c99", "c89"))
            if not is_compiler and not (folder / tool.name).exists():
                (folder / tool.name).symlink_to(tool)
    return str(folder)


# The first, since it takes as long as all others together.
def test_the_image_is_built_and_serves_compiled(checkout: Path, tmp_path: Path) -> None:
    context, stages_folder = tmp_path / "context", tmp_path / "stages"
    stages_folder.mkdir()
    make_context(checkout, context)
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    # As with pip above.
    variables = {"CFLAGS": "-O0"}
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    locked = str(ROOT / "deploy" / "requirements.txt")
    stages = build(dockerfile, context, stages_folder, [["-r", locked], requires], variables)
    try:
        image = stages[-1]
        entry, command = json.loads(image.last["ENTRYPOINT"]), json.loads(image.last["CMD"])
        health = json.loads(image.last["HEALTHCHECK"].partition("CMD ")[2])
        serve, ask = " ".join([*entry, *command]), " ".join(health)
        said = image.service(
            f"""
            mpchat --version
            {serve} &
            until {ask} >/dev/null 2>&1; do kill -0 $!; sleep 0.2; done
            {ask}
            kill -TERM $!
            wait $!
            """
        )
        assert ", compiled\n" in said
        assert "the hot path is compiled" in said
    finally:
        for stage in stages:
            stage.debian.close()


def test_the_wheel_runs_with_a_c_library_of_2018() -> None:
    """What auditwheel found: a newer compiler may ask for more."""
    wheel = max((ROOT / "dist").glob("mpchat-*.whl"), key=lambda path: path.stat().st_mtime)
    _name, _version, _build, tags = parse_wheel_filename(wheel.name)
    found = [re.match(r"manylinux_2_(\d+)_", tag.platform) for tag in tags]
    assert [int(match[1]) <= 28 for match in found if match] == [True]


async def test_the_source_distribution_is_compiled_where_it_is_installed(
    environment: Environment, sdist: str, tmp_path: Path
) -> None:
    environment.pip("install", sdist)
    assert environment.form() == "compiled"
    await environment.assert_serves(tmp_path, "compiled")


async def test_without_a_compiler_it_is_installed_as_python_and_says_why(
    environment: Environment, sdist: str, without_compiler: str, tmp_path: Path
) -> None:
    environment.path = without_compiler
    said = environment.pip("install", "--verbose", sdist)
    (compiler,) = set(
        line.rpartition("(")[2].rstrip(")")
        for line in said.splitlines()
        if "mpchat will run interpreted" in line
    )
    form = f"interpreted: it was not compiled: there is no C compiler ({compiler})"
    assert environment.form() == form
    await environment.assert_serves(tmp_path, form)


def test_without_a_compiler_it_is_not_installed_where_it_must_be_compiled(
    environment: Environment, sdist: str, without_compiler: str
) -> None:
    environment.path = without_compiler
    said = environment.pip("install", "--no-deps", sdist, check=False, MPCHAT_COMPILE="1")
    assert "MPCHAT_COMPILE=1, but there is no C compiler" in said
    assert "mpchat" not in environment.pip("list")


@pytest.fixture
def without_headers(tmp_path: Path) -> Environment:
    """An environment of a Python that was installed without its headers."""
    base = tmp_path / "python"
    (base / "bin").mkdir(parents=True)
    program = base / "bin" / "python3"
    shutil.copy(Path(sys.base_prefix, "bin", "python3").resolve(), program)
    (base / "lib").symlink_to(Path(sys.base_prefix, "lib"))
    return Environment(tmp_path / "venv", str(program))


def test_without_pythons_headers_it_is_installed_as_python_and_says_why(
    without_headers: Environment, sdist: str, tmp_path: Path
) -> None:
    said = without_headers.pip("install", "--verbose", sdist)
    include = tmp_path / "python" / "include" / f"python3.{sys.version_info.minor}"
    why = f"there is no Python.h in {include}"
    assert f"mpchat will run interpreted, much slower: {why}" in said
    assert without_headers.form() == f"interpreted: it was not compiled: {why}"
    said = without_headers.pip("install", "--no-deps", sdist, check=False, MPCHAT_COMPILE="1")
    assert f"MPCHAT_COMPILE=1, but {why}" in said


def test_only_what_was_edited_is_compiled_again(environment: Environment, checkout: Path) -> None:
    def install() -> None:
        environment.pip("install", "--editable", str(checkout))

    def kept() -> dict[str, int]:
        found = (checkout / "build" / "compiled").glob(f"*/*{SUFFIX}")
        return {path.name: path.stat().st_mtime_ns for path in found}

    install()
    assert environment.form() == "compiled"
    before = kept()
    assert len(before) == len(MODULES)
    name = MODULES[0]
    source = checkout.joinpath(*name.split(".")).with_suffix(".py")
    source.write_text(source.read_text() + "\n\ndef answer() -> int:\n    return 42\n")
    assert environment.form().startswith("interpreted: its source has changed since")
    install()
    assert environment.form() == "compiled"
    after = kept()
    assert len(after) == len(MODULES)
    assert [key for key in after if key not in before or after[key] != before[key]] == [
        key for key in after if key.startswith(f"{name}.")
    ]
    code = f"import {name} as m; print(m.answer(), m.__file__)"
    assert environment.run("python", "-c", code).split() == [
        "42",
        str(checkout / "mpchat" / FOLDER / f"{name}{SUFFIX}"),
    ]


def test_a_source_that_does_not_compile_is_an_error(
    environment: Environment, checkout: Path
) -> None:
    types = checkout.joinpath(*MODULES[0].split(".")).with_suffix(".pxd")
    types.write_text("cdef class Nothing\n    cdef\n")
    said = environment.pip("install", "--no-deps", str(checkout), check=False)
    assert "Error compiling Cython file" in said
    assert "MPCHAT_COMPILE=0 installs mpchat without compiling it" in said
    environment.pip("install", str(checkout), MPCHAT_COMPILE="0")
    assert environment.form() == "interpreted: it was not compiled: MPCHAT_COMPILE was 0"

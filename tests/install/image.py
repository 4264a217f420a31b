"""deploy/Dockerfile without an engine: its steps are carried out in a minimal Debian for each stage.

Rules. A stage FROM python:3.x is a Debian with that Python, pip, a C compiler and Python.h; one FROM
python:3.x-slim has the Python alone. FROM, COPY, RUN, ENV, WORKDIR and USER mean what they mean to an
engine, as far as the file uses them; commands have no shell. What pip needs lies in a folder.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.debian import ENVIRONMENT, SOURCE, Debian

RELEASE = "trixie"
"""The Debian whose own Python is that of the images."""
_BUILD = ("python3-pip", "python3-venv", "python3-dev", "gcc", "libc6-dev")


class Stage:
    """One stage: a file system, and what RUN and the service find in it."""

    def __init__(self, folder: Path, image: str, variables: Mapping[str, str]) -> None:
        folder.mkdir()
        self.debian = Debian(folder, ["unshare", "chroot"])
        self.environment = {**ENVIRONMENT, **variables}
        self.last: dict[str, str] = {}
        """The last instruction of each name"""
        build = () if image.endswith("-slim") else _BUILD
        self.debian.make(("python3", *build), RELEASE)
        self.debian.path(SOURCE).mkdir(parents=True)
        # Where the images have it.
        self.debian.path("/usr/local/bin/python").symlink_to("/usr/bin/python3")

    def copy(self, source: Path, target: str, *, into: bool) -> None:
        """COPY: a folder's content, or a file, ``into`` a folder or under that name."""
        place = self.debian.path(target)
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
            return
        if into:
            place.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)

    def run(self, *command: str) -> None:
        """RUN, as root.

        Raises:
            RuntimeError: The command failed.
        """
        inside = shlex.join(["env", "-i", *self._variables(), *command])
        if self.debian.show(inside) != 0:
            raise RuntimeError(f"failed: {shlex.join(command)}")

    def service(self, script: str) -> str:
        """Run a script as an engine starts the image: its user, folder and variables, no network."""
        self.debian.show("true")  # mounts /proc and /dev
        spaces = ["unshare", "--net", "--pid", "--fork", "--kill-child"]
        root = str(self.debian.root)
        command = [
            *spaces,
            f"--mount-proc={root}/proc",
            *("chroot", f"--userspec={self.last['USER']}", root, "env", "-i", *self._variables()),
            *("sh", "-euc", f"cd {self.last['WORKDIR']}\n{script}"),
        ]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def _variables(self) -> list[str]:
        return [f"{name}={value}" for name, value in self.environment.items()]


def instructions(text: str) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions with their arguments, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _space, rest in (x.partition(" ") for x in joined.splitlines())]


def build(
    dockerfile: str,
    context: Path,
    folder: Path,
    requirements: Sequence[Sequence[str]],
    variables: Mapping[str, str],
) -> list[Stage]:
    """Carry out all stages; the last one is the image. Whoever calls closes their Debians.

    ``requirements``: lists that pip would fetch, each with the options that it would have.
    ``variables``: more of the environment of each RUN.
    """
    stages: list[Stage] = []
    names: dict[str, Stage] = {}
    for name, rest in instructions(dockerfile):
        match name:
            case "FROM":
                image, _as, alias = rest.partition(" AS ")
                stages.append(Stage(folder / str(len(stages)), image, variables))
                names[alias] = stages[-1]
                if not image.endswith("-slim"):
                    for one in requirements:
                        stages[-1].debian.add_wheels(image.partition(":")[2], *one)
            case "COPY":
                *sources, target = rest.split()
                if sources[0].startswith("--from="):
                    other = names[sources.pop(0).removeprefix("--from=")].debian
                    found = [other.path(source) for source in sources]
                else:
                    found = [context / source for source in sources]
                for path in found:
                    stages[-1].copy(path, target, into=target.endswith("/"))
            case "RUN":
                stages[-1].run(*json.loads(rest))
            case "ENV":
                stages[-1].environment |= dict(item.split("=", 1) for item in rest.split())
        stages[-1].last[name] = rest
    return stages


def make_context(checkout: Path, target: Path) -> None:
    """Copy what .dockerignore leaves."""
    lines = (checkout / ".dockerignore").read_text().splitlines()
    wanted = [line[1:] for line in lines if line.startswith("!")]
    unwanted = [line for line in lines if line and line[0] not in "#!*"] + ["__pycache__"]

    def ignore(folder: str, names: list[str]) -> set[str]:
        paths = {name: os.path.relpath(Path(folder, name), checkout) for name in names}
        return {
            name
            for name, path in paths.items()
            if any(fnmatch.fnmatch(path, rule) or name == rule for rule in unwanted)
        }

    for name in wanted:
        source, place = checkout / name, target / name
        if source.is_dir():
            shutil.copytree(source, place, ignore=ignore)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)

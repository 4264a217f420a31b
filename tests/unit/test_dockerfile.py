"""deploy/Dockerfile: its lines fit files and command line.

That they run is tests/install/image.py, and that the service can be what the image makes it, PID 1
without rights, tests/functional/test_pid1.py.
"""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mpchat.cli.verbs import commands
from mpchat.ipc.control import default_path

ROOT = Path(__file__).parent.parent.parent
COMMANDS = ("RUN", "CMD", "ENTRYPOINT")


def instructions() -> list[tuple[str, str]]:
    """Return the instructions with their arguments, continued lines joined."""
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _space, rest in (x.partition(" ") for x in joined.splitlines())]


def last(name: str) -> str:
    return [rest for found, rest in instructions() if found == name][-1]


def environment() -> dict[str, str]:
    return dict(item.split("=", 1) for item in last("ENV").split())


def accept(arguments: Sequence[str]) -> dict[str, object]:
    """Let the command line's own parser take the arguments; return what it made of them."""
    verb = commands.commands[arguments[0]]
    return verb.make_context(arguments[0], list(arguments[1:])).params


def test_every_command_is_started_without_a_shell() -> None:
    for name, rest in instructions():
        if name in COMMANDS:
            assert all(isinstance(item, str) for item in json.loads(rest))


def test_what_is_copied_is_there_and_not_ignored() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] != "#"]
    copied = set()
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from="):
            copied.update(rest.split()[:-1])
    for source in copied:
        assert (ROOT / source).exists()
        verdicts = [
            not rule.startswith("!") for rule in rules if fnmatch.fnmatch(source, rule.strip("!"))
        ]
        assert verdicts == [True, False], source
    # Whatever the build of the package reads.
    assert copied >= {"pyproject.toml", "README.md", "hatch_build.py", "mpchat"}


def test_what_is_installed_is_one_release_of_everything_needed() -> None:
    text = (ROOT / "deploy" / "requirements.txt").read_text()
    pins = dict(re.findall(r"(?m)^([a-z0-9-]+)==([^ ;]+)", text))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["nats"], *extras["monitor"], *extras["top"]]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])
    blocks = re.split(r"(?m)^(?=[a-z0-9-]+==)", text)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


def test_it_serves_the_config_that_is_in_the_image_and_not_as_root() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["mpchat"]
    options = accept(json.loads(last("CMD")))
    assert options["config"] == "/etc/mpchat/static_config.yaml"
    user, group = last("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert last("STOPSIGNAL") == "SIGTERM"
    assert f"port: {last('EXPOSE')} " in (ROOT / "static_config.yaml").read_text()


def test_the_health_check_asks_the_control_socket() -> None:
    found = re.search(r"CMD (\[.*\])$", last("HEALTHCHECK"))
    assert found is not None
    program, *arguments = json.loads(found[1])
    assert program == "mpchat"
    assert accept(arguments)["socket"] == default_path(environment(), "8080")


def test_what_is_built_runs_on_the_python_that_built_it() -> None:
    build, image = (rest.partition(" AS ")[0] for name, rest in instructions() if name == "FROM")
    found = re.fullmatch(r"python:3\.(\d+)-slim", image)
    assert found is not None
    assert int(found[1]) >= 11
    assert f"{build}-slim" == image

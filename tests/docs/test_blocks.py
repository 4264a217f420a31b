"""Every block of code on a page runs, is a part of a file that runs, or is listed here with the reason.

Rules. A fence has a language. What is indented is code as well: it is how a page shows what its own test
does not type.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.docs.pages import ROOT, blocks
from tests.docs.test_configuration import CONFIG, load

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NO_CODE = {"text", "cpp"}
"""Output and drawings; userver's half of a comparison."""

RUN_BY = {
    "README.md": ("docs/test_readme.py", {"python", "console", "sh"}),
    "docs/tutorial.md": (
        "docs/test_tutorial.py",
        {"python", "yaml", "json", "ini", "console", "sh"},
    ),
    "docs/testing.md": ("docs/test_testing.py", {"python", "ini"}),
    "docs/coming-from-userver.md": ("docs/test_pages.py", {"python"}),
    "docs/coming-from-websockets.md": ("docs/test_pages.py", {"python"}),
    "docs/authentication.md": ("docs/test_authentication.py", {"python", "yaml", "json"}),
    "docs/rooms.md": ("docs/test_rooms.py", {"python"}),
    "docs/compression.md": ("functional/test_compression.py", {"python"}),
    "docs/tls.md": ("docs/test_tls.py", {"python", "ini"}),
    "docs/console.md": ("docs/test_console.py", {"console", "yaml", "json"}),
    "docs/config-service.md": ("docs/test_config_service.py", {"console"}),
    "docs/systemd.md": ("systemd/unit.py", {"sh"}),
    "docs/monitoring.md": ("prometheus/checks.py", {"yaml"}),
    "docs/proxies.md": ("proxies/checks.py", {"nginx", "caddy", "haproxy", "yaml", "json"}),
}
"""For each page the test that runs its blocks, and their languages."""

TEXTS_THAT_RUN = [
    path.read_text()
    for pattern in (
        "docs/examples/**/*.py",
        "docs/examples/**/*.yaml",
        "deploy/*",
        "*.yaml",
        "*.json",
    )
    for path in ROOT.glob(pattern)
    if path.is_file()
]

LISTED = {
    # By other tests
    "make serve ": "tests/docs/test_readme.py types it",
    "mpchat 0.1.0 pid 123": "tests/docs/test_readme.py waits for it",
    "python my_service.py --print-config-schema": "tests/docs/test_readme.py runs it",
    "# yaml-language-server": "tests/docs/test_readme.py looks for it",
    "mpchat serve -c static_config.yaml": "every functional test does it",
    "python my_service.py -c": "tests/functional/test_examples.py does it with other services",
    "python echo.py": "tests/functional/test_examples.py does it",
    "server:\n    listener-monitor:": "docs/console.md begins with it, and tests/docs/test_console.py",
    "$ curl -i http://localhost:8080/ping": "tests/functional/test_http.py asks for it",
    "mpchat status -c": "tests/functional/test_control.py gives these orders",
    '$ echo \'{"verb": "reload"}\'': "tests/functional/test_control.py sends it",
    "[Service]\nExecStart=": "tests/systemd/checks.py does it with a service of its own",
    "[Service]\nWorkingDirectory=": "tests/functional/test_deploy.py does it without systemd",
    '{"USERVER_TASK_PROCESSOR_PROFILER_DEBUG"': "tests/functional/test_hangs.py sets it",
    "docker build -f": "needs an engine; tests/install/checks.py carries out the steps",
    "kubectl create secret": "needs a cluster",
    "openssl req -x509": "tests/tls/page_checks.py runs it",
    "curl --cacert": "tests/tls/page_checks.py does it at its service's port",
    # By people
    "make loadtest": "takes minutes",
    "certbot certonly": "needs a name that the world knows",
    "make chat ": "tests/browser/checks.py serves it",
    "make quick ": "takes hours; CI runs most of it",
    "pip install '.[test]'": "the tutorial's test types it",
    "pip install 'mpchat[reload]'": "tests/functional/test_terminal.py serves so",
    "pip install 'mpchat[nats]'": "tests/functional/test_shared_rooms.py has it",
    "pip install 'mpchat[monitor]'": "tests/functional/test_console.py has it",
    "mpchat log-level my_service.rooms": "tests/functional/test_control.py gives these orders",
    "PYTHONASYNCIODEBUG=1": "needs somebody who makes mistakes",
    "mpchat serve --no-fork": "tests/functional/test_terminal.py serves so",
    "python -m debugpy": "needs an editor",
    "const encoded = btoa": "needs a browser",
    "const answer = await fetch": "needs a browser",
    "const room = new Room(async": "tests/browser/room_checks.py has such a function",
    "async def test_orders(service_client)": "there is no service of orders",
}
"""How a block begins, and why its page's test does not run it."""


class Code(NamedTuple):
    page: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.splitlines()[0]}"


_FENCE = re.compile(r"^( *)```.*?^\1```$", re.M | re.S)
_INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n+)+", re.M)


def code() -> Iterator[Code]:
    for path in PAGES:
        page, name = path.read_text(), str(path.relative_to(ROOT))
        fences = [Code(name, block.language, block.text) for block in blocks(page)]
        assert len(fences) == len(_FENCE.findall(page)), f"{name}: a fence without a language"
        yield from (fence for fence in fences if fence.language not in NO_CODE)
        for found in _INDENTED.findall(_FENCE.sub("", page)):
            yield Code(name, "", textwrap.dedent(found))


CODE = [*code()]


def runs_on_its_page(block: Code) -> bool:
    _test, languages = RUN_BY.get(block.page, ("", set()))
    return block.language in languages


FRAGMENTS = [block for block in CODE if block.language == "yaml" and not runs_on_its_page(block)]
"""Of a static config."""


def is_run(block: Code) -> bool:
    return runs_on_its_page(block) or block in FRAGMENTS or is_included(block)


def is_included(block: Code) -> bool:
    forms = [textwrap.indent(block.text, " " * columns) for columns in (0, 4, 8)]
    return any(form in text for text in TEXTS_THAT_RUN for form in forms)


@pytest.mark.parametrize("block", CODE, ids=str)
def test_a_block_runs_or_is_listed(block: Code) -> None:
    listed = [start for start in LISTED if block.text.startswith(start)]
    assert listed or is_run(block), (
        "run it, take it from a file that runs, or list it with a reason"
    )


def test_nothing_else_is_listed() -> None:
    shown = [start for start in LISTED if not any(x.text.startswith(start) for x in CODE)]
    assert shown == []


@pytest.mark.parametrize("page", RUN_BY)
def test_who_runs_a_page_names_it(page: str) -> None:
    test, languages = RUN_BY[page]
    assert Path(page).stem in (ROOT / "tests" / test).read_text()
    assert languages == {block.language for block in CODE if block.page == page} & languages


@pytest.mark.parametrize("block", FRAGMENTS, ids=str)
def test_a_fragment_of_a_config_is_valid(
    block: Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in re.findall(r"#env: (\w+)", block.text):
        monkeypatch.setenv(name, "a-value")
    config = yaml.safe_load(CONFIG)
    fragment = yaml.safe_load(block.text)
    manager = config["components_manager"]
    merge(manager if "components" in fragment else manager["components"], fragment)
    assert load(config, tmp_path).warnings == ()


def merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = value


def test_every_target_of_make_exists() -> None:
    (targets,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    named = {
        target
        for page in PAGES
        for target in re.findall(r"(?:^ {4}|`)make ([\w-]+)(?=[ `])", page.read_text(), re.M)
    }
    assert named - set(targets.split()) == set()

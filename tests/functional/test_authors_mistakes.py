"""Mistakes in an author's code are told by `check` and `serve` alike: what, in which file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.verbs import Mpchat

CONFIG = """
components_manager:
    task_processors:
        main: {worker_threads: 1}
    default_task_processor: main
    components:
        server:
            listener: {port: 0}
        my-chat: {path: /chat}
        handler-ping: {path: /ping}
"""
APP = """\
from mpchat import (
    ComponentList,
    Ping,
    WebsocketHandlerBase,
    default_component_list,
    minimal_server_component_list,
)


class Chat(WebsocketHandlerBase):
    name = "my-chat"

    async def handle(self, chat, context):
        pass


def components():
    return minimal_server_component_list().append(Ping).append(Chat)
"""


def run(mpchat: Mpchat, folder: Path, verb: str, app: str = "app:components") -> tuple[int, str]:
    (folder / "static_config.yaml").write_text(CONFIG)
    result = mpchat(verb, "-c", "static_config.yaml", "--app", app, cwd=folder)
    return result.returncode, result.stderr


@pytest.mark.parametrize("components", ["append(Ping).append(Chat)", "default"])
def test_a_list_with_the_ping_has_no_warnings(
    mpchat: Mpchat, tmp_path: Path, components: str
) -> None:
    app = APP
    if components == "default":
        app = APP.replace(
            "minimal_server_component_list().append(Ping)", "default_component_list()"
        )
    (tmp_path / "app.py").write_text(app)
    assert run(mpchat, tmp_path, "check") == (0, "")


def test_a_section_of_ours_without_its_class_is_warned_about(
    mpchat: Mpchat, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP.replace(".append(Ping)", ""))
    code, told = run(mpchat, tmp_path, "check")
    assert code == 0
    assert told == (
        "warning: static_config.yaml:10:23: handler-ping is left out: it is not in the component list; "
        "append mpchat.Ping to it\n"
    )


WRONG = {
    "no import": ("    Ping,", "    Pong,", 70, ["app.py", "line 1,", "ImportError", "Pong"]),
    "no module": (
        "\n\nclass",
        "\nimport nowhere\n\nclass",
        70,
        ['app.py", line 9', "No module named"],
    ),
    "no Python": ("async def handle", "asinc def handle", 70, ['app.py", line 13', "SyntaxError"]),
    "exits": ("\n\nclass", "\nexit(3)\n\nclass", 70, ["exits when it is imported", "__main__"]),
    "function fails": (
        "return minimal",
        "1 / 0\n    return minimal",
        70,
        ["line 18", "ZeroDivision"],
    ),
    "no name": ('    name = "my-chat"\n', "", 70, ['app.py", line 17', "Chat has no name: add"]),
    "no component": (
        "append(Chat)",
        "append(3)",
        70,
        ['app.py", line 18', "derived from Component"],
    ),
    "sync": ("    async def handle", "    def handle", 78, ["app.py:13:1: Chat.handle: expected"]),
    "misspelt": (
        "def handle",
        "def handel",
        78,
        ["app.py:10:1: Chat: has no", "is 'handel' a misspelling"],
    ),
    "no context": (", context", "", 78, ["app.py:13:1: Chat.handle:", "(self, chat)"]),
    "metric": (
        "class Chat(WebsocketHandlerBase):",
        """from mpchat import metrics


class Chat(WebsocketHandlerBase):
    orders = metrics.counter("orders taken", "Orders", labels={"kind": "buy"})""",
        78,
        [
            "app.py:13:1: Chat.orders: expected a name of letters",
            "app.py:13:1: Chat.orders: labels: kind: expected a tuple of values, got 'buy'",
        ],
    ),
    "other section": ("my-chat", "chat", 78, ["my-chat: unknown component; did you mean 'chat'?"]),
}


# They find what they find in the same way: one of each kind is enough for the slower one.
@pytest.mark.parametrize(
    ("verb", "mistake"),
    [*(("check", mistake) for mistake in WRONG), ("serve", "no import"), ("serve", "sync")],
)
def test_a_mistake_is_told_in_a_few_lines(
    mpchat: Mpchat, tmp_path: Path, verb: str, mistake: str
) -> None:
    old, new, expected, words = WRONG[mistake]
    assert old in APP
    (tmp_path / "app.py").write_text(APP.replace(old, new, 1))
    code, told = run(mpchat, tmp_path, verb)
    assert code == expected, told
    assert [word for word in words if word not in told] == [], told
    assert len(told.splitlines()) <= 8, told
    first = next((line for line in told.splitlines() if "File" in line), "app.py")
    assert "app.py" in first, told


@pytest.mark.parametrize(
    ("app", "told"),
    [
        ("app", "expected MODULE:LIST"),
        ("nowhere:components", "no module named nowhere in {folder} or among installed modules"),
        ("app:nothing", "module app has no nothing"),
        ("app:Chat", "expected a ComponentList, got the class Chat"),
    ],
)
def test_an_app_that_is_not_there(mpchat: Mpchat, tmp_path: Path, app: str, told: str) -> None:
    (tmp_path / "app.py").write_text(APP)
    folder = tmp_path.resolve()
    assert run(mpchat, tmp_path, "check", app) == (
        64,
        f"mpchat: --app {app}: {told.format(folder=folder)}\n",
    )

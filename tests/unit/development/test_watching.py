"""Which change has which effect."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from mpchat.config.files import ConfigFiles
from mpchat.development.watching import Watched, serve_watched
from mpchat.errors import ExitCode, StartError

WATCHED = Watched(
    frozenset({"/srv/chat"}),
    frozenset({"/etc/chat/config.yaml"}),
    frozenset({"/etc/chat/dyn.json"}),
)


@pytest.mark.parametrize(
    ("changed", "order"),
    [
        (set(), None),
        ({"/srv/chat/rooms/bus.py"}, signal.SIGUSR2),
        ({"/etc/chat/config.yaml"}, signal.SIGUSR2),
        ({"/etc/chat/dyn.json"}, signal.SIGHUP),
        ({"/etc/chat/dyn.json", "/srv/chat/main.py"}, signal.SIGUSR2),
        ({"/srv/chat/notes.md", "/srv/chat/main.pyc", "/etc/chat/other.json"}, None),
        ({"/srv/chat-2/main.py", "/etc/chat/main.py"}, None),
    ],
)
def test_what_follows_from_a_change(changed: set[str], order: signal.Signals | None) -> None:
    found = WATCHED.order_after(changed)
    assert (found and found[0]) == order
    assert found is None or found[1] in changed


CONFIG = """
config_vars: vars.yaml
components_manager:
    task_processors: {main-task-processor: {worker_threads: 1}}
    components:
        dynamic-config-fallbacks: {fallback-path: FILE}
"""


def test_the_files_are_those_of_the_config(tmp_path: Path) -> None:
    config, elsewhere = tmp_path / "config.yaml", tmp_path / "elsewhere"
    (tmp_path / "vars.yaml").write_text("{}")
    elsewhere.mkdir()
    files = ConfigFiles(str(config))
    first = Watched(frozenset({str(tmp_path)}), frozenset({str(config)}), frozenset())
    config.write_text(CONFIG.replace("FILE", "dyn.json"))
    watched = first.again(files)
    assert watched.static == {str(config), str(tmp_path / "vars.yaml")}
    assert watched.dynamic == {str(tmp_path / "dyn.json")}
    assert watched.roots() == {str(tmp_path)}
    config.write_text(CONFIG.replace("FILE", "elsewhere/dyn.json"))
    assert watched.again(files).roots() == {str(tmp_path), str(elsewhere)}
    # A mistake, which the service reports, does not hide the files that mend it.
    config.write_text(CONFIG.replace("FILE", "["))
    assert watched.again(files) == watched


def test_certificates_are_read_again_as_the_dynamic_config_is(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    first = Watched(frozenset({str(tmp_path)}), frozenset({str(config)}), frozenset())
    tls = "{cert: tls/a.pem, private-key: tls/a.key, certificates: [{cert: b.pem, private-key: b.key}]}"
    monitor = "{port: 2, tls: {cert: c.pem, private-key: c.key}}"
    listener = f"{{ports: [{{port: 1, tls: {tls}}}]}}"
    server = f"server: {{listener: {listener}, listener-monitor: {monitor}}}"
    config.write_text(f"{CONFIG}        {server}\n")
    (tmp_path / "vars.yaml").write_text("{}")
    watched = first.again(ConfigFiles(str(config)))
    names = ("FILE", "tls/a.pem", "tls/a.key", "b.pem", "b.key", "c.pem", "c.key")
    assert watched.dynamic == {str(tmp_path / name) for name in names}
    assert watched.order_after({str(tmp_path / "tls/a.key")}) == (
        signal.SIGHUP,
        str(tmp_path / "tls/a.key"),
    )


def test_the_extra_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(StartError, match=r"pip install 'mpchat\[reload\]'") as caught:
        serve_watched(ConfigFiles("config.yaml"), [], sys.exit)
    assert caught.value.exit_code == ExitCode.USAGE

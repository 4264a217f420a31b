"""Options of the stream: their mistakes, and their secrets."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from mpchat.jetstream.options import JetStreamOptions
from tests.unit.jetstream.rig import options

SERVER = "nats://10.0.0.1:4222"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"servers": []}, "at least 1"),
        ({"servers": ["10.0.0.1:4222"]}, "expected a server such as nats://"),
        ({"servers": ["http://10.0.0.1:4222"]}, "expected a server such as nats://"),
        ({"servers": ["nats://"]}, "expected a server such as nats://"),
        ({"servers": ["nats://h:0"]}, "expected a server such as nats://"),
        ({"servers": ["nats://h:port"]}, "expected a server such as nats://"),
        ({"servers": ["nats://h:1/path"]}, "expected a server such as nats://"),
        ({"servers": ["nats://h:1?a"]}, "expected a server such as nats://"),
        ({"servers": ["nats://ann:secret@h:1"]}, "expected no user in a server's address"),
        ({"user": "ann"}, "expected both of user and password, or none"),
        ({"password": "secret"}, "expected both of user and password, or none"),
        ({"user": "a", "password": "b", "token": "c"}, "expected at most one of user, token"),
        ({"token": "c", "credentials_file": "d"}, "expected at most one of user, token"),
        ({"duplicate_window": "2h"}, "expected duplicate-window to be at most max-age"),
        ({"max_age": "1m"}, "expected duplicate-window to be at most max-age"),
        ({"duplicate_window": "50ms"}, "greater than or equal to 0.1"),
        ({"max_bytes": 0}, "greater than 0"),
        ({"max_message": 0}, "greater than 0"),
        ({"replicas": 0}, "greater than or equal to 1"),
        ({"replicas": 6}, "less than or equal to 5"),
        ({"storage": "tape"}, "'file' or 'memory'"),
        ({"stream": "A.B"}, "match pattern"),
        ({"stream": "A B"}, "match pattern"),
        ({"stream": "*"}, "match pattern"),
        ({"stream": ""}, "match pattern"),
        ({"stream": "A\n"}, "match pattern"),
        ({"domain": "$JS"}, "match pattern"),
        ({"check_interval": "0s"}, "greater than 0"),
        ({"connect_timeout": "0s"}, "greater than 0"),
    ],
)
def test_mistakes(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        options(SERVER, **changes)
    (error,) = caught.value.errors()
    assert expected in error["msg"]
    assert "secret" not in error["msg"]


@pytest.mark.parametrize(
    "server", ["nats://h", "nats://h:4222", "tls://[::1]:1", "tls://a-b.example"]
)
def test_good_servers(server: str) -> None:
    assert options(server).servers == [server]


def test_options_are_read_without_nats_py_and_a_connection_says_what_it_needs() -> None:
    code = """import sys
sys.modules["nats"] = None
import mpchat.jetstream.options
print("read", flush=True)
import mpchat.jetstream.connection"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout == "read\n"
    assert "ImportError: rooms over NATS need nats-py: pip install 'mpchat[nats]'" in result.stderr


def test_a_short_life_takes_a_short_window() -> None:
    assert options(SERVER, max_age="1m", duplicate_window="1m").max_age == 60


def test_secrets_are_not_shown() -> None:
    for chosen in (options(SERVER, user="ann", password="s3cret"), options(SERVER, token="s3cret")):
        assert "s3cret" not in repr(chosen)
        assert "s3cret" not in chosen.model_dump_json()


def test_a_credentials_file_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpchat.jetstream.options.find_spec", lambda name: None)
    JetStreamOptions.model_validate({"servers": ["nats://127.0.0.1:4222"]})
    with pytest.raises(ValidationError, match="pip install 'mpchat\\[nats-credentials\\]'"):
        JetStreamOptions.model_validate(
            {"servers": ["nats://127.0.0.1:4222"], "credentials-file": "/a.creds"}
        )

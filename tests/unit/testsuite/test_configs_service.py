"""The config service of the test kit, asked by hand: it knows what its client uses."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from mpchat.testsuite.configs_service import MockConfigsService
from mpchat.testsuite.dynamic_config import ServedDynamicConfig


@pytest.fixture
def service() -> Iterator[MockConfigsService]:
    service = MockConfigsService({"A": 1}, {"OFF"})
    yield service
    service.close()


class Follower:
    """A client in a thread: asks again at once, and uses every value but ``refused``."""

    def __init__(self, url: str) -> None:
        self.values: dict[str, Any] = {}
        self.refusal: str | None = None
        self._url = url
        self._since: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.01):
            body = {} if self._since is None else {"updated_since": self._since}
            answer = post(f"{self._url}/configs/values", body)
            values = {**self.values, **answer["configs"]}
            for name in answer.get("removed", []):
                values.pop(name, None)
            self.refusal = "A: refused" if values.get("A") == "refused" else None
            if self.refusal is None:
                self.values, self._since = values, answer["updated_at"]


def post(url: str, body: Any) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_its_answers(service: MockConfigsService) -> None:
    url = f"{service.url}/configs/values"
    first = post(url, {"ids": ["A", "OFF", "B"]})
    assert first == {
        "configs": {"A": 1},
        "updated_at": "1970-01-01T00:00:00Z",
        "kill_switches_disabled": ["OFF"],
    }
    service.commit({"OFF": 2})
    since = {"updated_since": first["updated_at"]}
    assert post(url, since) == {
        "configs": {"OFF": 2},
        "updated_at": "1970-01-01T00:00:01Z",
        "removed": ["A"],
    }
    assert service.requests == [{"ids": ["A", "OFF", "B"]}, since]
    with pytest.raises(urllib.error.HTTPError) as error:
        post(f"{service.url}/other", {})
    assert error.value.code == 404
    error.value.close()


def test_a_change_waits_for_its_client(service: MockConfigsService) -> None:
    with Follower(service.url) as follower:
        config = ServedDynamicConfig(service, {"A": 1}, lambda: follower.refusal)
        config.set(A=2, B=3)
        assert follower.values == {"A": 2, "B": 3}
        config.remove("B")
        assert follower.values == {"A": 2}


def test_a_refusal_is_taken_back(service: MockConfigsService) -> None:
    with Follower(service.url) as follower:
        config = ServedDynamicConfig(service, {"A": 1}, lambda: follower.refusal)
        with pytest.raises(ValueError, match="A: refused"):
            config.set(A="refused")
        assert config.get("A") == 1
        assert (follower.values, follower.refusal) == ({"A": 1}, None)
        config.set(A=2)
        assert follower.values == {"A": 2}


def test_a_client_that_does_not_ask(
    service: MockConfigsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpchat.testsuite.configs_service.DEADLINE", 0.1)
    with pytest.raises(TimeoutError, match=r"did not take the values of 1970-01-01T00:00:00Z"):
        service.wait_taken(lambda: None)

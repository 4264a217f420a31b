"""The options that say which proxies are believed, and what for."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from mpchat.server.options import ListenerOptions
from mpchat.server.trusted import TrustedProxy

_ENTRIES: TypeAdapter[Any] = TypeAdapter(TrustedProxy)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("unix", "unix"),
    ],
)
def test_an_entry_is_shown_as_it_is_meant(text: str, shown: str) -> None:
    entry = _ENTRIES.validate_python(text)
    assert _ENTRIES.dump_python(entry, mode="json") == shown
    assert _ENTRIES.validate_python(shown) == entry


@pytest.mark.parametrize(
    "value", ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.1", "fe80::1%lo", 10, None, "Unix"]
)
def test_anything_else_is_no_entry(value: object) -> None:
    with pytest.raises(ValueError, match="expected an address, a network such as"):
        _ENTRIES.validate_python(value)


def listener(**options: Any) -> ListenerOptions:
    return ListenerOptions.model_validate({"port": 0, **options})


def test_off_needs_no_quotes_which_yaml_would_want() -> None:
    for value in (False, "off"):
        options = listener(**{"proxy-protocol": value, "forwarded": value})
        assert options == listener()
    with pytest.raises(ValidationError, match="'v1', 'v2' or 'off'"):
        listener(**{"proxy-protocol": True})


@pytest.mark.parametrize("option", [{"proxy-protocol": "v2"}, {"forwarded": "forwarded"}])
def test_whoever_believes_proxies_says_which(option: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="need trusted-proxies: nobody else is believed"):
        listener(**option)
    assert listener(**option, **{"trusted-proxies": ["unix"]}).trusted_proxies == ("unix",)

"""Whose pages may connect."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mpchat.http.authority import split_authority
from mpchat.http.fields import Fields
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.websocket.origins import parse_origin, refusal


def allowed(*entries: Any) -> Any:
    options = WebsocketHandlerBase.Options.model_validate(
        {"path": "/", "allowed-origins": [*entries]}
    )
    return options.allowed_origins


def fields(**lines: str) -> Fields:
    return {name: [value] for name, value in lines.items()}


def admits(origin: str, entries: Any, authority: str = "chat.example.com", **more: str) -> bool:
    return refusal(fields(origin=origin, **more), authority, entries) is None


EXACT = allowed("https://example.com", "http://Localhost:3000", "https://[2001:db8:0::1]:444")
APPS = allowed("file://", "capacitor://localhost", "app://.", "chrome-extension://AbcD", "null")
BELOW = allowed("https://*.example.com", "https://*.example.com:8443")


@pytest.mark.parametrize(
    ("origin", "entries", "admitted"),
    [
        ("https://example.com", EXACT, True),
        ("https://EXAMPLE.com", EXACT, True),
        ("HTTPS://example.com:443", EXACT, True),
        ("https://example.com:8443", EXACT, False),
        ("http://example.com", EXACT, False),
        ("https://a.example.com", EXACT, False),
        ("https://example.com.evil.org", EXACT, False),
        ("https://evil-example.com", EXACT, False),
        ("https://example.com@evil.org", EXACT, False),
        ("https://example.com/", EXACT, False),
        ("https://example.com https://evil.org", EXACT, False),
        ("http://localhost:3000", EXACT, True),
        ("http://localhost", EXACT, False),
        ("https://[2001:DB8::1]:444", EXACT, True),
        ("null", EXACT, False),
        ("", EXACT, False),
        ("https://a.example.com", BELOW, True),
        ("https://a.b.example.com", BELOW, True),
        ("https://A.Example.Com", BELOW, True),
        ("https://a.example.com:8443", BELOW, True),
        ("https://example.com", BELOW, False),
        ("https://evilexample.com", BELOW, False),
        ("https://a.example.com.evil.org", BELOW, False),
        ("http://a.example.com", BELOW, False),
        ("https://chat.example.com", (), False),
        ("file://", APPS, True),
        ("FILE://", APPS, True),
        ("file:///", APPS, False),
        ("file://host", APPS, False),
        ("file:", APPS, False),
        ("file://", EXACT, False),
        ("capacitor://localhost", APPS, True),
        ("ionic://localhost", APPS, False),
        ("http://localhost", APPS, False),
        ("app://.", APPS, True),
        ("app://x.", APPS, False),
        ("chrome-extension://abcd", APPS, True),
        ("chrome-extension://abce", APPS, False),
        ("null", APPS, True),
        ("null://", APPS, False),
        ("", APPS, False),
    ],
)
def test_the_list_decides(origin: str, entries: Any, admitted: bool) -> None:
    assert admits(origin, entries) is admitted
    # With cookies and without.
    assert admits(origin, entries, cookie="a=b") is admitted


@pytest.mark.parametrize(
    ("origin", "authority", "admitted"),
    [
        ("https://chat.example.com", "chat.example.com", True),
        ("http://chat.example.com", "chat.example.com", True),
        ("https://CHAT.example.com", "chat.EXAMPLE.com", True),
        ("https://chat.example.com", "chat.example.com:443", True),
        ("http://chat.example.com:80", "chat.example.com", True),
        ("https://chat.example.com:8443", "chat.example.com:8443", True),
        ("https://chat.example.com:8443", "chat.example.com", False),
        ("https://chat.example.com", "chat.example.com:80", False),
        ("http://chat.example.com", "chat.example.com:8080", False),
        ("https://example.com", "chat.example.com", False),
        ("https://a.chat.example.com", "chat.example.com", False),
        ("http://[::1]:8080", "[0::1]:8080", True),
        ("null", "chat.example.com", False),
        ("file://", "chat.example.com", False),
        ("app://chat.example.com", "chat.example.com", False),
        ("chat.example.com", "chat.example.com", False),
        ("https://chat.example.com/", "chat.example.com", False),
        ("https://chat.example.com", "[", False),
    ],
)
def test_without_a_list_credentials_are_for_the_same_host(
    origin: str, authority: str, admitted: bool
) -> None:
    assert admits(origin, None, authority, cookie="a=b") is admitted
    assert admits(origin, None, authority, authorization="Basic eDp5") is admitted
    assert admits(origin, None, authority)


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        ("https://chat.example.com", True),
        ("wss://chat.example.com", True),
        ("http://chat.example.com", False),
        ("http://chat.example.com:443", False),
        ("https://other.example.com", False),
    ],
)
def test_where_the_service_speaks_tls_so_does_the_page(origin: str, admitted: bool) -> None:
    given = fields(origin=origin, cookie="a=b")
    assert (refusal(given, "chat.example.com", None, secure=True) is None) is admitted
    assert refusal(fields(origin=origin), "chat.example.com", None, secure=True) is None
    # The list has schemes of its own.
    assert refusal(given, "", allowed(origin), secure=True) is None


def test_a_client_certificate_is_a_credential() -> None:
    for origin, admitted in (("https://chat.example.com", True), ("https://evil.example", False)):
        found = refusal(fields(origin=origin), "chat.example.com", None, certified=True)
        assert (found is None) is admitted
    assert refusal(fields(), "chat.example.com", None, certified=True) is None


def test_whoever_sends_no_origin_is_no_browser() -> None:
    assert refusal(fields(cookie="a=b"), "a", None) is None
    assert refusal(fields(cookie="a=b"), "a", EXACT) is None


def test_nothing_is_the_same_as_an_unknown_host() -> None:
    assert refusal(fields(cookie="a=b", origin="http://a"), None, None) is not None


@pytest.mark.parametrize(
    "entry",
    [
        "example.com",
        "https://",
        "https://example.com/",
        "https://example.com/path",
        "https://*",
        "https://*.",
        "https://a.*.com",
        "https://*example.com",
        "*.example.com",
        "https://example.com:x",
        None,
        "file:",
        "*",
        1,
    ],
)
def test_a_wrong_entry_is_an_error(entry: object) -> None:
    with pytest.raises(ValidationError, match="expected an origin such as"):
        allowed(entry)


@pytest.mark.parametrize(
    "entry",
    [
        *("https://a.example", "http://a:3000", "https://[2001:db8::1]:444", "https://*.a:8443"),
        *("file://", "capacitor://localhost", "null", "https://[::1]"),
    ],
)
def test_an_entry_is_shown_as_it_was_written(entry: str) -> None:
    assert [str(origin) for origin in allowed(entry)] == [entry]


def test_parts() -> None:
    assert split_authority("A:") == ("a", None)
    assert split_authority("[::1]:80") == ("[::1]", 80)
    for wrong in ("", ":80", "a:b", "a:65536", "::1", "[::1", "[1.2.3.4]", "a b", "a@b", "a/b"):
        assert split_authority(wrong) is None, wrong
    assert parse_origin("file") is None
    extension = parse_origin("chrome-extension://abc")
    assert extension is not None
    assert (extension.scheme, extension.host, extension.port) == ("chrome-extension", "abc", None)

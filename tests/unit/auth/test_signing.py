"""Signatures: whatever is not exactly what was signed is refused."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from mpchat.auth.claims import from_payload, to_payload
from mpchat.auth.signing import decode, encode, sign, verify
from mpchat.components.identity import Identity

KEY, OTHER = b"k" * 32, b"o" * 32
ALPHABET = string.ascii_letters + string.digits + "-_.=+/ "


@given(st.binary(max_size=100))
def test_what_was_signed_is_read(payload: bytes) -> None:
    text = sign(KEY, "a", payload)
    assert verify([KEY], "a", text) == payload
    assert verify([OTHER, KEY], "a", text) == payload
    assert verify([OTHER], "a", text) is None
    assert verify([KEY], "b", text) is None
    assert verify([], "a", text) is None


@given(st.data(), st.binary(min_size=1, max_size=60))
def test_no_other_text_is_accepted(data: st.DataObject, payload: bytes) -> None:
    text = sign(KEY, "a", payload)
    where = data.draw(st.integers(0, len(text)))
    part = data.draw(st.text(ALPHABET, max_size=3))
    dropped = data.draw(st.integers(0, 3))
    forged = text[:where] + part + text[where + dropped :]
    assert verify([KEY], "a", forged) == (payload if forged == text else None)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_parts_of_two_texts_make_no_third(one: bytes, other: bytes) -> None:
    first, second = sign(KEY, "a", one), sign(KEY, "a", other)
    mixed = f"{first.partition('.')[0]}.{second.partition('.')[2]}"
    assert (verify([KEY], "a", mixed) is None) == (one != other)


@given(st.text(max_size=80))
def test_any_text_is_refused(text: str) -> None:
    assert verify([KEY], "a", text) is None


@given(st.text(ALPHABET, max_size=12))
def test_each_content_has_one_text(text: str) -> None:
    content = decode(text)
    assert content is None or encode(content) == text


@given(st.text(), st.frozensets(st.text()), st.none() | st.floats(0, 1e12))
def test_an_identity_comes_back(user: str, tags: frozenset[str], expires: float | None) -> None:
    identity = Identity(user, tags, expires)
    assert from_payload(to_payload(identity, "more", 1.5)) == (identity, ["more", 1.5])

"""What a certificate says: a reader of X.509 (RFC 5280) in DER (X.690).

Rules. It reads what operators ask for and what the order of a chain needs; it verifies nothing. It is
strict: whatever is truncated, longer than it says or of another shape is a ValueError. Names that are
only shown are decoded as well as possible.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

from mpchat.tls.pem import read_blocks

Name: TypeAlias = tuple[tuple[bytes, str], ...]
"""The attributes of a subject or an issuer: each one's object identifier in DER, and its text."""

_BOOLEAN, _INTEGER, _BIT_STRING, _OCTET_STRING, _OID = 0x01, 0x02, 0x03, 0x04, 0x06
SEQUENCE, _SET = 0x30, 0x31
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_SUBJECT_ALT_NAME = bytes.fromhex("551d11")
_COMMON_NAME, _ORGANIZATION, _UNIT = (bytes.fromhex(oid) for oid in ("550403", "55040a", "55040b"))
_ENCODINGS = {0x0C: "utf-8", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}
"""Of text by its tag; the others are one byte a character."""
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_LABELS = ("CERTIFICATE", "X509 CERTIFICATE")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says about itself.

    Attributes:
        subject: Common name of whom it is for, or the unit or organization; may be empty.
        issuer: The same of who has signed it.
        names: DNS names and IP addresses that it is valid for, in its order.
        not_before: Begin of its validity, in seconds since 1970.
        not_after: Last second of its validity.
        serial: Serial number in hexadecimal digits.
        fingerprint: SHA-256 of the whole certificate in hexadecimal digits.
        subject_name: The whole subject, in a form that compares as RFC 5280, 7.1 says.
        issuer_name: The whole issuer, in the same form.
        der: The certificate itself.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: int
    not_after: int
    serial: str
    fingerprint: str
    subject_name: Name = field(repr=False)
    issuer_name: Name = field(repr=False)
    der: bytes = field(repr=False)


def read_chain(pem: bytes) -> tuple[Certificate, ...]:
    """Return the certificates of a PEM file in its order; at least one.

    Raises:
        ValueError: There is none, or one is damaged; the text says which.
    """
    chain: list[Certificate] = []
    for block in read_blocks(pem):
        if block.label == "TRUSTED CERTIFICATE":
            raise ValueError(
                "the block TRUSTED CERTIFICATE has more than a certificate: write it again by "
                "openssl x509 -in FILE"
            )
        if block.label in _LABELS:
            try:
                chain.append(read_certificate(block.decode()))
            except ValueError as error:
                raise ValueError(f"certificate {len(chain) + 1}: {error}") from error
    if not chain:
        raise ValueError("there is no certificate")
    return tuple(chain)


def read_certificate(der: bytes) -> Certificate:
    """Return what one certificate in DER says.

    Raises:
        ValueError: It is none.
    """
    whole = elements(der)
    outer = elements(_next(whole, SEQUENCE))
    _end(whole)
    body = elements(_next(outer, SEQUENCE))
    _next(outer, SEQUENCE)  # algorithm of the signature
    _next(outer, _BIT_STRING)  # the signature
    _end(outer)
    first = next(body, None)
    if first is not None and first.tag == _VERSION:
        first = next(body, None)
    if first is None or first.tag != _INTEGER or not first.content:
        raise ValueError("no serial number where a certificate has it")
    _next(body, SEQUENCE)  # algorithm of the signature
    issuer = _name(_next(body, SEQUENCE))
    validity = elements(_next(body, SEQUENCE))
    not_before, not_after = _time(next(validity, None)), _time(next(validity, None))
    _end(validity)
    subject = _name(_next(body, SEQUENCE))
    _next(body, SEQUENCE)  # the public key
    extensions = [element.content for element in body if element.tag == _EXTENSIONS]
    return Certificate(
        subject=_shown(subject),
        issuer=_shown(issuer),
        names=tuple(_names(extensions[0])) if extensions else (),
        not_before=not_before,
        not_after=not_after,
        serial=f"{int.from_bytes(first.content, signed=True):X}",
        fingerprint=hashlib.sha256(der).hexdigest(),
        subject_name=_comparable(subject),
        issuer_name=_comparable(issuer),
        der=der,
    )


class Element(NamedTuple):
    """A piece of DER."""

    tag: int
    content: bytes


def elements(data: bytes) -> Iterator[Element]:
    """Yield the elements that lie one behind the other.

    Raises:
        ValueError: What comes next is none, or longer than what is left.
    """
    at = 0
    while at < len(data):
        tag, at = data[at], at + 1
        if tag & 0x1F == 0x1F:
            raise ValueError("an element with a long tag, which no certificate has")
        length, at = _length(data, at)
        if len(data) - at < length:
            raise ValueError(f"truncated: an element of {length} bytes has {len(data) - at}")
        yield Element(tag, data[at : at + length])
        at += length


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Return the length that begins there, and where its element's content begins."""
    if at == len(data):
        raise ValueError("truncated: an element has no length")
    first, at = data[at], at + 1
    if first < 0x80:
        return first, at
    digits = data[at : at + (first & 0x7F)]
    length = int.from_bytes(digits)
    # DER has one form for each length (X.690, 10.1): the shortest. 0x80 would be a length without end.
    if len(digits) != first & 0x7F or not 1 <= len(digits) <= 4 or digits[0] == 0 or length < 0x80:
        raise ValueError("the length of an element is not written as DER writes it")
    return length, at + len(digits)


def _next(elements: Iterator[Element], tag: int) -> bytes:
    """Return the content of the next element, which has to have the tag."""
    element = next(elements, None)
    if element is None:
        raise ValueError(f"an element {tag:#04x} is missing")
    if element.tag != tag:
        raise ValueError(f"an element {element.tag:#04x} where {tag:#04x} has to be")
    return element.content


def _end(elements: Iterator[Element]) -> None:
    if (element := next(elements, None)) is not None:
        raise ValueError(f"an element {element.tag:#04x} too much")


def _time(element: Element | None) -> int:
    """Return the seconds since 1970 of a time as RFC 5280, 4.1.2.5 writes it."""
    if element is None or element.tag not in {_UTC_TIME, _GENERALIZED_TIME}:
        raise ValueError("a date is missing")
    text = element.content.decode("latin-1")
    if element.tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no date of a certificate")
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError as error:
        raise ValueError(f"{text!r} is no date: {error}") from error


def _name(content: bytes) -> Name:
    attributes = []
    for relative in elements(content):
        if relative.tag != _SET:
            raise ValueError(f"an element {relative.tag:#04x} in a name")
        for attribute in elements(relative.content):
            parts = elements(attribute.content)
            kind, value = _next(parts, _OID), next(parts, None)
            if attribute.tag != SEQUENCE or value is None:
                raise ValueError("an attribute of a name has no value")
            text = value.content.decode(_ENCODINGS.get(value.tag, "latin-1"), "replace")
            attributes.append((kind, text))
            _end(parts)
    return tuple(attributes)


def _shown(name: Name) -> str:
    """Return the text for people; what a terminal would obey is replaced."""
    for wanted in (_COMMON_NAME, _UNIT, _ORGANIZATION):
        for kind, text in name:
            if kind == wanted:
                return _printable(text)
    return ""


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _comparable(name: Name) -> Name:
    return tuple((kind, " ".join(text.split()).casefold()) for kind, text in name)


def _names(content: bytes) -> Iterator[str]:
    """Yield the DNS names and IP addresses of the extension subjectAltName (RFC 5280, 4.2.1.6)."""
    outer = elements(content)
    extensions = _next(outer, SEQUENCE)
    _end(outer)
    for extension in elements(extensions):
        parts = elements(extension.content)
        kind, value = _next(parts, _OID), next(parts, None)
        if value is not None and value.tag == _BOOLEAN:  # whether it is critical
            value = next(parts, None)
        if extension.tag != SEQUENCE or value is None or value.tag != _OCTET_STRING:
            raise ValueError("an extension has no value")
        _end(parts)
        if kind == _SUBJECT_ALT_NAME:
            inner = elements(value.content)
            yield from _alternatives(_next(inner, SEQUENCE))
            _end(inner)


def _alternatives(content: bytes) -> Iterator[str]:
    for name in elements(content):
        if name.tag == _DNS_NAME:
            yield _printable(name.content.decode("latin-1"))
        elif name.tag == _IP_ADDRESS:
            try:
                yield str(ipaddress.ip_address(name.content))
            except ValueError as error:
                raise ValueError(f"an IP address of {len(name.content)} bytes") from error

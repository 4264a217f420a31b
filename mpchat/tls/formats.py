"""Recognizes what a file is when it is not the PEM that was expected.

Rules. Files are taken for each other, and tools write several formats: each text says which one it is and
how to get the other.
"""

from __future__ import annotations

from typing import Literal

from mpchat.tls.der import SEQUENCE, elements
from mpchat.tls.pem import read_blocks

_CERTIFICATES = {"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"}


def other_format(content: bytes, wanted: Literal["certificate", "private key"]) -> str | None:
    """Return what a file is instead of PEM with what is wanted; None if that cannot be told."""
    if not content.strip():
        return "the file is empty"
    inside = _inside(content)
    if inside is not None:
        if inside.startswith(b"\x02\x01\x03"):  # the version of PKCS #12 (RFC 7292, 4)
            tool = "openssl pkcs12 -in FILE -out NEW.pem -noenc"
            return f"the file is PKCS #12, and PEM is expected: write it again by {tool}"
        tool = "x509" if wanted == "certificate" else "pkey"
        return (
            "the file is DER, and PEM is expected: write it again by "
            f"openssl {tool} -inform der -in FILE -out NEW.pem"
        )
    try:
        labels = {block.label for block in read_blocks(content)}
    except ValueError:
        return None
    if wanted == "certificate" and labels & _CERTIFICATES:
        return None  # It has one, which is damaged.
    for label, text in (
        ("PKCS7", "PKCS #7: write it again by openssl pkcs7 -print_certs -in FILE -out NEW.pem"),
        (
            "CERTIFICATE REQUEST",
            "a request: give the certificate that the authority made of it",
        ),
        (
            "NEW CERTIFICATE REQUEST",
            "a request: give the certificate that the authority made of it",
        ),
        ("PUBLIC KEY", "the public key: give the private one"),
        ("CERTIFICATE", "a certificate: are cert and private-key swapped?"),
    ):
        if label in labels:
            return f"there is no {wanted}, but {text}"
    if any(label.endswith("PRIVATE KEY") for label in labels):
        return f"there is no {wanted}, but a private key: are cert and private-key swapped?"
    return None


def _inside(content: bytes) -> bytes | None:
    """Return what is in the one SEQUENCE that all files in DER are; None if this is none."""
    try:
        (whole,) = elements(content)
    except ValueError:
        return None
    return whole.content if whole.tag == SEQUENCE else None

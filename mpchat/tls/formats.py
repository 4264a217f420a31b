"""Recognizes what a file is when it is not the PEM that was expected.

Rules. Files are taken for each other, and tools write several formats: each text says which one it is and
how to get the other.
"""

from __future__ import annotations

from typing import Literal

from mpchat.tls.pem import read_blocks


def other_format(content: bytes, wanted: Literal["certificate", "private key"]) -> str | None:
    """Return what a file is instead of PEM with what is wanted; None if that cannot be told."""
    if not content.strip():
        return "the file is empty"
    if content[0] == 0x30 and b"-----BEGIN" not in content:
        # A SEQUENCE with a long length, and the version 3 of PKCS #12 (RFC 7292, 4).
        if content[1] & 0x80 and content[2 + (content[1] & 0x7F) :].startswith(b"\x02\x01\x03"):
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

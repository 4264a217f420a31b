"""A certificate and its key for each row, made here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import trustme
from cryptography.hazmat.primitives import serialization

from ..servers import CERTIFICATE, KEY

KeyKind = Literal["EC", "RSA"]
"""P-256, or 2,048 bits"""


def put_certificate(folder: Path, kind: KeyKind) -> None:
    """Write a certificate for 127.0.0.1 and its key where servers look for them."""
    kinds = {"EC": trustme.KeyType.ECDSA, "RSA": trustme.KeyType.RSA}
    authority = trustme.CA(key_type=kinds[kind])
    issued = authority.issue_cert("127.0.0.1", key_type=kinds[kind])
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    (folder / CERTIFICATE).write_bytes(chain)
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    # granian reads no other form.
    pkcs8 = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / KEY).write_bytes(pkcs8)

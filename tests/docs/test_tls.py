"""docs/tls.md: what it says of mistakes is what a mistake says, and its code is valid."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mpchat.cli.tables import certificate_lines
from mpchat.dynamic_config.fallback import read_bytes
from mpchat.errors import ConfigError
from mpchat.tls.pair import CertificateError, Pair, check
from tests.docs.pages import ROOT, blocks
from tests.kit.certificates import DAY, Certificates, PairFiles

PAGE = (ROOT / "docs" / "tls.md").read_text()
ROWS = re.findall(r"^\| `([^`|]+)` \|", PAGE.partition("## What a mistake says")[2], re.M)


def half(made: Certificates) -> PairFiles:
    return PairFiles(made.write("half.pem", made.ec.cert.read_bytes()[:-30]), made.ec.key)


def der(made: Certificates) -> PairFiles:
    (leaf, *_rest) = x509.load_pem_x509_certificates(made.ec.cert.read_bytes())
    return PairFiles(made.write("leaf.der", leaf.public_bytes(Encoding.DER)), made.ec.key)


MISTAKES: dict[str, Callable[[Certificates], PairFiles]] = {
    "expired on": lambda made: made.expired,
    "is not valid before": lambda made: made.early,
    "the key is not that": lambda made: made.mismatched,
    "of the authority": lambda made: made.ca_first,
    "did not issue": lambda made: made.foreign_in_chain,
    "has no end": half,
    "swapped": lambda made: PairFiles(made.ec.key, made.ec.cert),
    "is DER": der,
    "is encrypted": lambda made: made.encrypted,
    "passphrase is wrong": lambda made: made.encrypted,
    "too weak": lambda made: made.weak,
    "cannot be read": lambda made: PairFiles(made.folder / "secret", made.ec.key),
}
"""What a row of the page is about, and how it comes to be"""


def said(pair: PairFiles, passphrase: str | None) -> str:
    """Return why a pair is not taken."""
    chain, key = (read_bytes(str(path)) for path in (pair.cert, pair.key))
    with pytest.raises(CertificateError) as caught:
        check(Pair(str(pair.cert), str(pair.key), chain, key, passphrase), time.time())
    return caught.value.text


@pytest.mark.parametrize("row", ROWS)
def test_a_mistake_says_what_the_page_says(
    row: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    (about,) = [about for about in MISTAKES if about in row]
    pair = MISTAKES[about](certificates)
    if about == "cannot be read":

        def refuse(path: str, *_given: object) -> int:
            raise PermissionError(13, "Permission denied", path)

        with monkeypatch.context() as refusing, pytest.raises(ConfigError) as caught:
            refusing.setattr("os.open", refuse)
            read_bytes(str(pair.cert))
        assert str(caught.value) == f"{pair.cert}: {row}"
        return
    text = said(pair, "another" if about == "passphrase is wrong" else None)
    assert re.fullmatch(".*".join(map(re.escape, row.split("…"))), text)


def test_every_mistake_has_a_row() -> None:
    assert len(ROWS) == len(MISTAKES)


def test_check_prints_a_certificate_as_the_page_says() -> None:
    (shown,) = [block.text for block in blocks(PAGE) if block.language == "text"]
    one = {
        "listener": "listener",
        "subject": "chat.example.com",
        "names": ["chat.example.com", "www.chat.example.com"],
        "issuer": "E7",
        "not_after": 1803772799,
        "seconds_left": int(88 * DAY),
    }
    (line,) = certificate_lines([one])
    assert shown.splitlines()[1] == line


def test_its_code_is_valid() -> None:
    (text,) = [block.text for block in blocks(PAGE) if block.language == "python"]
    exec(compile(text, "tls.md", "exec"), {"__name__": "page"})


def test_a_file_of_deploy_is_shown_as_it_is() -> None:
    (shown,) = [block.text for block in blocks(PAGE) if block.language == "ini"]
    assert shown == (ROOT / "deploy" / "mpchat.service.d" / "tls.conf").read_text()

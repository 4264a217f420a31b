"""What a service offers in TLS: as sslscan finds it, and as docs/tls.md prints it."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "tls.md"
_HEAD = "| Key | TLS 1.3 | TLS 1.2 | Groups |"


@dataclass(frozen=True)
class Offer:
    """For a certificate with one kind of key.

    Attributes:
        ciphers: Names by version, as OpenSSL gives them, in the order of the server's preference.
        groups: Names of the groups for the key exchange.
    """

    ciphers: dict[str, tuple[str, ...]]
    groups: frozenset[str]


def offer_of(xml: str) -> Offer:
    """Return what sslscan has found, by its XML."""
    test = ElementTree.fromstring(xml).find("ssltest")
    assert test is not None, xml
    enabled = {
        f"{one.get('type', '').upper()}v{one.get('version')}"
        for one in test.findall("protocol")
        if one.get("enabled") == "1"
    }
    ciphers = {
        version: tuple(
            one.get("cipher", "")
            for one in test.findall("cipher")
            if one.get("sslversion") == version
        )
        for version in enabled
    }
    groups = frozenset(one.get("name", "").partition(" ")[0] for one in test.findall("group"))
    return Offer(ciphers, groups)


def offers_of_page() -> dict[str, Offer]:
    """Return what the page says, by kind of key."""
    rows = PAGE.read_text().partition(_HEAD)[2].splitlines()[2:]
    found = {}
    for row in rows:
        if not row.startswith("| "):
            break
        key, of_1_3, of_1_2, groups = (
            tuple(cell.strip(" `").split("`, `")) for cell in row.strip("| ").split(" | ")
        )
        found[key[0]] = Offer({"TLSv1.3": of_1_3, "TLSv1.2": of_1_2}, frozenset(groups))
    return found

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509 import name as x509_name
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat.tls.der import Certificate, read_certificate, read_chain
from tests.unit.tls.made import (
    END,
    NOW,
    Made,
    authority,
    certificate,
    common,
    ec_key,
    encode,
    make,
    rsa_key,
)

ROOT = authority()
LEAF = make("a.test", ROOT, names=("a.test", "*.w.test", "127.0.0.1", "2001:db8::1"))
OLD, FAR = datetime(1950, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)


def check_against(mine: Certificate, theirs: x509.Certificate) -> None:
    """Compare with what the package cryptography reads."""
    assert mine.not_before == theirs.not_valid_before_utc.timestamp()
    assert mine.not_after == theirs.not_valid_after_utc.timestamp()
    assert int(mine.serial, 16) == theirs.serial_number
    assert mine.fingerprint == theirs.fingerprint(hashes.SHA256()).hex()
    for text, name in ((mine.subject, theirs.subject), (mine.issuer, theirs.issuer)):
        for kind in (
            NameOID.COMMON_NAME,
            NameOID.ORGANIZATIONAL_UNIT_NAME,
            NameOID.ORGANIZATION_NAME,
        ):
            if found := name.get_attributes_for_oid(kind):
                assert text == found[0].value
                break
        else:
            assert text == ""
    try:
        alternatives = theirs.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        assert mine.names == ()
    else:
        wanted = [
            name.value for name in alternatives if isinstance(name, (x509.DNSName, x509.IPAddress))
        ]
        assert list(mine.names) == list(map(str, wanted))


@pytest.mark.parametrize(
    "made",
    [
        LEAF,
        ROOT,
        make("rsa.test", ROOT, key=rsa_key()),
        make("ed.test", key=ed25519.Ed25519PrivateKey.generate()),
        make(x509.Name([]), ROOT, names=("only.names.test",)),
        make("old", begin=OLD, end=NOW),
        make("far", begin=NOW, end=FAR),
        make("ends never", begin=NOW, end=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        make("grüße.test", ROOT),
        make(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Only an organization")])),
    ],
    ids=[
        "EC",
        "CA",
        "RSA",
        "Ed25519",
        "no subject",
        "UTCTime",
        "GeneralizedTime",
        "9999",
        "UTF-8",
        "O",
    ],
)
def test_a_certificate_says_what_cryptography_says(made: Made) -> None:
    (mine,) = read_chain(made.pem)
    assert mine.der == made.der
    check_against(mine, made.certificate)


def test_names_compare_as_clients_compare_them() -> None:
    first = make("An  Authority", key=ec_key())
    second = make(
        x509.Name(
            [
                x509.NameAttribute(
                    NameOID.COMMON_NAME, "an authority", _type=x509_name._ASN1Type.IA5String
                )
            ]
        )
    )
    assert read_certificate(first.der).subject_name == read_certificate(second.der).subject_name
    other = read_certificate(make("Another authority").der)
    assert read_certificate(first.der).subject_name != other.subject_name


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    assert read_certificate(make("a\x1b[2Jb").der).subject == "a\ufffd[2Jb"


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_the_systems_roots_and_those_of_certifi_are_read() -> None:
    paths = [ssl.get_default_verify_paths().cafile, "/etc/ssl/certs/ca-certificates.crt"]
    for path in {path for path in paths if path and Path(path).is_file()}:
        pem = Path(path).read_bytes()
        for mine in read_chain(pem):
            check_against(mine, x509.load_der_x509_certificate(mine.der))


def test_a_chain_has_its_order() -> None:
    both = read_chain(b"text\n" + LEAF.pem + b"text\n" + ROOT.pem.replace(b"CERT", b"X509 CERT"))
    assert [one.subject for one in both] == ["a.test", "authority"]
    assert both[0].issuer_name == both[1].subject_name
    assert both[0].not_after == END.timestamp()


@pytest.mark.parametrize(
    ("pem", "text"),
    [
        (b"", "^there is no certificate$"),
        (LEAF.key(), "^there is no certificate$"),
        (LEAF.pem[:300], "^the block CERTIFICATE has no end; is the file half written"),
        (
            LEAF.pem + ROOT.pem.replace(b"MII", b"MI?", 1),
            "^certificate 2: the block CERTIFICATE is damaged",
        ),
        (LEAF.pem.replace(b"CERT", b"TRUSTED CERT"), "openssl x509 -in FILE"),
        (
            b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
            "^certificate 1: an element 0x30 is missing",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(pem: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        read_chain(pem)


def test_a_truncated_certificate_is_none() -> None:
    for cut in range(len(LEAF.der)):
        with pytest.raises(ValueError, match=r".+"):
            read_certificate(LEAF.der[:cut])
    with pytest.raises(ValueError, match="an element 0x30 too much"):
        read_certificate(LEAF.der + LEAF.der)


@given(st.binary(max_size=300))
def test_random_bytes_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_certificate(data)


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.integers(0, len(LEAF.der) - 1), st.integers(0, 255)), min_size=1, max_size=4
    )
)
def test_a_damaged_certificate_is_read_or_a_value_error(changes: list[tuple[int, int]]) -> None:
    der = bytearray(LEAF.der)
    for at, value in changes:
        der[at] = value
    try:
        read_certificate(bytes(der))
    except ValueError as error:
        assert str(error)


def test_the_parts_of_a_certificate_are_read() -> None:
    found = read_certificate(certificate(version=b""))  # version 1 has none
    assert (found.serial, found.subject, found.names) == ("5", "", ())
    assert (found.not_before, found.not_after) == (1767225600, 1798761600)


SAN = bytes.fromhex("0603551d11")


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"serial": b"\x02\x00"}, "no serial number"),
        ({"serial": b"\x04\x01\x05"}, "no serial number"),
        ({"begin": b"\x17\x0b2601010000Z"}, "is no date of a certificate"),  # without seconds
        ({"begin": b"\x17\x0d260101000000+"}, "is no date of a certificate"),
        ({"begin": b"\x17\x0d261301000000Z"}, "is no date: month"),
        ({"end": b"\x18\x0f00000101000000Z"}, "is no date: year"),
        ({"end": b"\x18\x0f2027\xb2101000000Z"}, "is no date of a certificate"),
        ({"end": b""}, "a date is missing"),
        ({"end": b"\x04\x00"}, "a date is missing"),
        ({"end": b"\x17\x0d270101000000Z\x05\x00"}, "an element 0x05 too much"),
        ({"name": b"\x30\x02\x30\x00"}, "an element 0x30 in a name"),
        ({"name": encode(0x30, encode(0x31, b"\x31\x05\x06\x01\x01\x0c\x00"))}, "has no value"),
        ({"name": encode(0x30, encode(0x31, b"\x30\x03\x06\x01\x01"))}, "has no value"),
        ({"name": b"\x31\x00"}, "an element 0x31 where 0x30 has to be"),
        ({"extensions": encode(0xA3, b"\x30\x02\x30\x00")}, "an element 0x06 is missing"),
        (
            {"extensions": encode(0xA3, encode(0x30, encode(0x30, SAN)))},
            "an extension has no value",
        ),
        (
            {
                "extensions": encode(
                    0xA3, encode(0x30, encode(0x30, SAN, b"\x04\x04\x30\x02\x87\x00"))
                )
            },
            "of 0 bytes",
        ),
        (
            {"extensions": encode(0xA3, encode(0x30, encode(0x30, SAN, b"\x04\x01\x30")))},
            "has no length",
        ),
        ({"more": b"\x05\x00"}, "an element 0x05 too much"),
        ({"extensions": b"\x1f\x81\x00\x00"}, "a long tag"),
        ({"extensions": b"\x30\x80\x00\x00"}, "not written as DER"),  # without an end
        ({"extensions": b"\x30\x81\x01\x00"}, "not written as DER"),  # longer than it need be
        ({"extensions": b"\x30\x85\x01\x00\x00\x00\x00"}, "not written as DER"),
        ({"extensions": b"\x30\x84\xff\xff\xff\xff"}, "truncated"),
    ],
)
def test_another_shape_is_an_error(parts: dict[str, bytes], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        read_certificate(certificate(**parts))


@pytest.mark.parametrize(
    ("tag", "encoding"),
    [(0x0C, "utf-8"), (0x13, "ascii"), (0x14, "latin-1"), (0x1C, "utf-32-be"), (0x1E, "utf-16-be")],
)
def test_each_kind_of_text_is_read(tag: int, encoding: str) -> None:
    text = "grüße" if encoding != "ascii" else "plain"
    attribute = encode(0x30, b"\x06\x03\x55\x04\x03", encode(tag, text.encode(encoding)))
    name = encode(0x30, encode(0x31, attribute))
    assert read_certificate(certificate(name=name)).subject == text


def test_a_critical_extension_and_other_kinds_of_names_are_passed_over() -> None:
    names = encode(0x30, b"\x81\x03a@b", b"\x82\x01a", b"\x86\x01u", b"\x87\x04\x7f\x00\x00\x01")
    extension = encode(0x30, SAN, b"\x01\x01\xff", encode(0x04, names))
    found = read_certificate(certificate(extensions=encode(0xA3, encode(0x30, extension))))
    assert found.names == ("a", "127.0.0.1")


def test_a_name_may_be_longer_than_a_short_length() -> None:
    assert (
        read_certificate(
            make(common("x" * 64), names=tuple(f"{n}.test" for n in range(40))).der
        ).names[-1]
        == "39.test"
    )

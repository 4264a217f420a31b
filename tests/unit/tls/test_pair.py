from __future__ import annotations

import dataclasses
import errno
import json
import os
import ssl
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
    pkcs12,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mpchat.linux import system
from mpchat.tls.pair import CertificateError, Pair, check, read_certificates
from mpchat.tls.settings import server_context
from tests.kit.descriptors import descriptors_open
from tests.unit.tls.made import BEGIN, END, FORKS, NOW, Made, authority, certificate, make, rsa_key

ROOT = authority("root")
MIDDLE = authority("middle", ROOT)
LEAF = make("a.test", MIDDLE, names=("a.test", "b.test"))
OTHER = make("other.test", ROOT)
GOOD = LEAF.pair()
AT = NOW.timestamp()


def refusal(pair: Pair, now: float = AT) -> str:
    before = descriptors_open()
    with pytest.raises(CertificateError) as caught:
        check(pair, now)
    assert descriptors_open() == before
    assert str(caught.value) == f"{caught.value.path}: {caught.value.text}"
    return str(caught.value)


def with_chain(*parts: bytes) -> Pair:
    return dataclasses.replace(GOOD, chain=b"".join(parts))


def with_key(key: bytes, passphrase: str | None = None) -> Pair:
    return dataclasses.replace(GOOD, key=key, passphrase=passphrase)


@pytest.mark.parametrize(
    "made",
    [
        LEAF,
        OTHER,
        make("self.test"),
        make("rsa.test", MIDDLE, key=rsa_key()),
        make("rsa authority.test", authority("rsa", key=rsa_key())),
        make(x509.Name([]), MIDDLE, names=("only.names.test",)),
    ],
    ids=["by an intermediate", "by a root", "by itself", "RSA", "EC by RSA", "no subject"],
)
def test_good_pairs_pass(made: Made) -> None:
    before = descriptors_open()
    found = check(made.pair(), AT)
    assert found.der == made.der
    assert descriptors_open() == before


def test_the_root_may_be_in_the_chain_and_more_than_once() -> None:
    assert check(with_chain(LEAF.chain, ROOT.pem), AT).names == ("a.test", "b.test")
    check(with_chain(LEAF.chain, ROOT.pem, ROOT.pem), AT)


def test_the_certificate_alone_passes() -> None:
    # Whether clients know its issuer, nobody can tell from here.
    check(with_chain(LEAF.pem), AT)


def test_one_file_may_have_both() -> None:
    both = LEAF.key() + LEAF.chain
    check(Pair("both.pem", "both.pem", both, both, None), AT)
    both = LEAF.chain + LEAF.key()
    check(Pair("both.pem", "both.pem", both, both, None), AT)


def test_a_key_in_the_certificates_file_is_not_that_of_the_pair() -> None:
    check(with_chain(LEAF.chain, OTHER.key()), AT)


@pytest.mark.parametrize("style", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_encrypted_keys(style: PrivateFormat, capfd: pytest.CaptureFixture[str]) -> None:
    key = LEAF.key("secret", style)
    check(with_key(key, "secret"), AT)
    assert refusal(with_key(key)).startswith(
        "a.key: the key is encrypted and there is no passphrase: set private-key-passphrase-name, "
    )
    for wrong in ("wrong", "", "s" * 1024):
        assert refusal(with_key(key, wrong)).startswith(
            "a.key: the passphrase is wrong, or the key is damaged (OpenSSL: "
        )
    assert refusal(with_key(key, "s" * 2000)) == (
        "a.key: the passphrase does not fit: password cannot be longer than 1024 bytes"
    )
    assert capfd.readouterr() == ("", "")


def test_a_passphrase_that_nothing_needs_is_no_mistake() -> None:
    check(with_key(LEAF.key(), "secret"), AT)


def test_a_passphrase_may_have_any_letters() -> None:
    check(with_key(LEAF.key("grüße €"), "grüße €"), AT)


@FORKS
def test_the_terminal_is_never_asked() -> None:
    """The same in a process with a terminal, from which OpenSSL would read."""
    pid, terminal = os.forkpty()
    if pid == 0:
        status = 1
        try:
            encrypted = LEAF.key("secret")
            for passphrase in (None, "wrong", ""):
                try:
                    check(with_key(encrypted, passphrase), AT)
                except CertificateError:
                    status = 0
                pair = with_key(encrypted, passphrase)
                try:
                    pair.load(server_context())
                except ssl.SSLError:
                    continue
                status = 2
        finally:
            os._exit(status)
    written = b""
    try:
        while part := os.read(terminal, 1000):
            written += part
    except OSError as error:
        assert error.errno == errno.EIO  # a terminal's end
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert written == b""


@pytest.mark.parametrize(
    "key",
    [OTHER.key(), make(key=rsa_key()).key(), make(key=ed25519.Ed25519PrivateKey.generate()).key()],
    ids=["same type", "RSA", "Ed25519"],
)
def test_the_key_of_another_certificate(key: bytes) -> None:
    assert refusal(with_key(key)) == (
        "a.key: the key is not that of the certificate in a.crt: give the one that the certificate "
        "was requested with"
    )


def test_the_authority_before_the_certificate() -> None:
    assert refusal(with_chain(MIDDLE.pem, LEAF.pem)) == (
        "a.crt: the certificate of the authority (middle) is before the one that it issued (a.test): "
        "the server's own comes first, and behind each one its issuer"
    )
    assert "(root) is before the one that it issued (middle)" in refusal(
        with_chain(ROOT.pem, MIDDLE.pem, LEAF.pem)
    )


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (
            (LEAF, OTHER),
            "certificate 2 (other.test) did not issue certificate 1 (a.test), but 'middle' did: ",
        ),
        (
            (LEAF, ROOT),
            "certificate 2 (root) did not issue certificate 1 (a.test), but 'middle' did: ",
        ),
        (
            (LEAF, LEAF),
            "certificate 2 (a.test) did not issue certificate 1 (a.test), but 'middle' did: ",
        ),
        (
            (LEAF, MIDDLE, OTHER),
            "certificate 3 (other.test) did not issue certificate 2 (middle), but 'root' did",
        ),
        (
            (LEAF, ROOT, MIDDLE),
            "certificate 2 (root) did not issue certificate 1 (a.test), but 'middle' did: ",
        ),
    ],
    ids=["foreign", "a gap", "twice", "foreign later", "order later"],
)
def test_a_foreign_certificate_in_the_chain(parts: tuple[Made, ...], text: str) -> None:
    assert refusal(with_chain(*(part.pem for part in parts))).startswith(f"a.crt: {text}")


def test_an_authority_that_only_has_the_name() -> None:
    assert refusal(with_chain(LEAF.pem, authority("middle", ROOT).pem)) == (
        "a.crt: clients will refuse the certificate: certificate signature failure"
    )


def test_a_certificate_that_is_for_clients() -> None:
    assert refusal(make("a.test", MIDDLE, for_clients_only=True).pair()) == (
        "a.crt: clients will refuse the certificate: unsuitable certificate purpose"
    )


def test_an_issuer_that_is_no_authority() -> None:
    between = make("between", ROOT)
    assert refusal(make("a.test", between).pair()).startswith(
        "a.crt: clients will refuse the certificate: invalid CA certificate"
    )


def test_dates() -> None:
    begin, end = BEGIN.timestamp(), END.timestamp()
    check(GOOD, begin)
    check(GOOD, end)
    assert refusal(GOOD, end + 1) == (
        "a.crt: certificate 1 (a.test) expired on 2026-08-14 12:00:00 UTC: renew it"
    )
    assert refusal(GOOD, begin - 1) == (
        "a.crt: certificate 1 (a.test) is not valid before 2026-05-16 12:00:00 UTC: use it then, or set "
        "this machine's clock"
    )


def test_the_date_of_an_intermediate_counts_that_of_a_root_does_not() -> None:
    short = NOW - timedelta(days=1)
    assert refusal(make("a.test", authority("middle", ROOT, end=short)).pair()) == (
        "a.crt: certificate 2 (middle) expired on 2026-06-14 12:00:00 UTC: renew it"
    )
    old = authority("old", end=short)
    made = make("a.test", old)
    check(dataclasses.replace(made.pair(), chain=made.pem + old.pem), AT)


def test_weak_keys() -> None:
    # As OpenSSL says it, at Python's level of security.
    assert refusal(make("weak.test", MIDDLE, key=rsa_key(1024)).pair()) == (
        "a.crt: OpenSSL finds a certificate too weak (EE_KEY_TOO_SMALL): get one with a key of EC P-256, "
        "or of RSA with 2,048 bits, signed with SHA-256"
    )
    weak = authority("weak", authority("top"), key=rsa_key(1024))
    assert "OpenSSL finds a certificate too weak (CA_KEY_TOO_SMALL)" in refusal(
        make(issuer=weak).pair()
    )


def test_a_key_of_a_kind_that_no_client_knows() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256K1())
    assert refusal(make("odd.test", MIDDLE, key=key).pair()).startswith(
        "a.crt: no client can use a key of this kind ("
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (os.urandom(2000).replace(b"-", b"x"), "there is no certificate"),
        (
            LEAF.key(),
            "there is no certificate, but a private key: are cert and private-key swapped?",
        ),
        (
            LEAF.pem.replace(b"MII", b"MI?", 1) + LEAF.key(),
            "certificate 1: the block CERTIFICATE is damaged: its lines are no base64",
        ),
        (
            LEAF.pem.replace(b"CERT", b"TRUSTED CERT"),
            "the block TRUSTED CERTIFICATE has more than a certificate: write it again by openssl x509 "
            "-in FILE",
        ),
        (LEAF.pem[:400], "the block CERTIFICATE has no end; is the file half written?"),
        (
            LEAF.pem + MIDDLE.pem[:300],
            "the block CERTIFICATE has no end; is the file half written?",
        ),
        (
            LEAF.der,
            "the file is DER, and PEM is expected: write it again by openssl x509 -inform der -in FILE "
            "-out NEW.pem",
        ),
        (
            pkcs12.serialize_key_and_certificates(
                b"a", LEAF.private, LEAF.certificate, None, NoEncryption()
            ),
            "the file is PKCS #12, and PEM is expected: write it again by openssl pkcs12 -in FILE -out "
            "NEW.pem -noenc",
        ),
        (
            pkcs7.serialize_certificates([LEAF.certificate], Encoding.PEM),
            "there is no certificate, but PKCS #7: write it again by openssl pkcs7 -print_certs -in FILE "
            "-out NEW.pem",
        ),
        (
            LEAF.pem.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"),
            "there is no certificate, but a request: give the certificate that the authority made of it",
        ),
    ],
    ids=[
        "empty",
        "blank",
        "garbage",
        "key",
        "damaged",
        "trusted",
        "half",
        "second half",
        "DER",
        "PKCS12",
        "PKCS7",
        "CSR",
    ],
)
def test_other_files_than_a_certificate(content: bytes, text: str) -> None:
    assert refusal(with_chain(content)) == f"a.crt: {text}"
    with pytest.raises(CertificateError) as caught:
        read_certificates("ca.crt", content)
    assert str(caught.value) == f"ca.crt: {text}"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "the file is empty"),
        (os.urandom(2000).replace(b"-", b"x"), "there is no private key"),
        (LEAF.pem, "there is no private key, but a certificate: are cert and private-key swapped?"),
        (LEAF.key()[:120], "the block PRIVATE KEY has no end; is the file half written?"),
        (
            LEAF.key("secret")[:200],
            "the block ENCRYPTED PRIVATE KEY has no end; is the file half written?",
        ),
        (
            LEAF.key(encoding=Encoding.DER),
            "the file is DER, and PEM is expected: write it again by openssl pkey -inform der -in FILE "
            "-out NEW.pem",
        ),
        (
            LEAF.key(style=PrivateFormat.OpenSSH),
            "the key is in the format of OpenSSH: write it again by ssh-keygen -p -m pem",
        ),
        (
            LEAF.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "there is no private key, but the public key: give the private one",
        ),
        (
            b"-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n",
            "OpenSSL cannot use the key with a.crt; is it damaged? (OpenSSL: PEM lib)",
        ),
    ],
    ids=[
        "empty",
        "garbage",
        "certificate",
        "half",
        "half encrypted",
        "DER",
        "OpenSSH",
        "public",
        "damaged",
    ],
)
def test_other_files_than_a_key(content: bytes, text: str) -> None:
    assert refusal(with_key(content)).startswith(f"a.key: {text}")


def test_cert_and_key_swapped() -> None:
    swapped = Pair("a.crt", "a.key", LEAF.key(), LEAF.chain, None)
    assert refusal(swapped).endswith("are cert and private-key swapped?")


@settings(max_examples=60)
@given(st.integers(0, len(GOOD.chain) + len(GOOD.key)))
def test_a_file_cut_anywhere_is_refused_or_whole(cut: int) -> None:
    both = (GOOD.chain + GOOD.key)[:cut]
    try:
        check(Pair("both.pem", "both.pem", both, both, None), AT)
    except CertificateError as error:
        assert error.text
    else:
        assert cut >= len(GOOD.chain + GOOD.key) - 1  # all but the last line's end


@settings(max_examples=60)
@given(st.binary(max_size=60) | st.sampled_from([b"0", b"0\x80", b"-----BEGIN", b"0 text"]))
def test_any_bytes_are_a_mistake_of_their_file(content: bytes) -> None:
    assert refusal(with_chain(content)).startswith("a.crt: ")
    assert refusal(with_key(content)).startswith("a.key: ")


def test_a_system_without_descriptors_is_not_the_files_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memfd_create, calls = system.memfd_create, 0

    def second_fails(name: str, flags: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.EMFILE, "Too many open files")
        return memfd_create(name, flags)

    monkeypatch.setattr(system, "memfd_create", second_fails)
    before = descriptors_open()
    with pytest.raises(OSError, match="Too many open files"):
        check(GOOD, AT)
    assert descriptors_open() == before


def test_secrets_are_in_no_text() -> None:
    pair = Pair("a.crt", "a.key", LEAF.chain + LEAF.key(), LEAF.key(), "secret")
    assert repr(pair) == "Pair(cert_path='a.crt', key_path='a.key')"
    assert "secret" not in refusal(with_key(OTHER.key("secret"), "secret wrong"))


def test_a_pair_travels_as_json() -> None:
    pair = Pair("\udcff.crt", "a.key", LEAF.chain, b"\xff\x00" + LEAF.key(), "grüße")
    assert Pair.from_json(json.loads(json.dumps(pair.to_json()))) == pair
    assert Pair.from_json(json.loads(json.dumps(GOOD.to_json()))) == GOOD


def test_authorities() -> None:
    found = read_certificates("ca.crt", b"a root\n" + ROOT.pem + MIDDLE.pem)
    assert [one.subject for one in found] == ["root", "middle"]


def test_a_certificate_that_only_looks_like_one() -> None:
    # The reader looks at neither the key nor the signature; here they are empty.
    pem = ssl.DER_cert_to_PEM_cert(certificate()).encode()
    text = "crt: OpenSSL refuses a certificate: "
    assert refusal(with_chain(pem)).startswith(f"a.{text}")
    assert refusal(with_chain(LEAF.pem, pem)).startswith(f"a.{text}")
    with pytest.raises(CertificateError) as caught:
        read_certificates("ca.crt", pem)
    assert str(caught.value).startswith(f"ca.{text}")

from __future__ import annotations

import contextlib
import dataclasses
import errno
import gc
import os
import ssl
import sys
import traceback
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mpchat.linux import system
from mpchat.tls.contexts import Contexts, peer_is_valid, without_bad_names
from mpchat.tls.material import Material
from mpchat.tls.options import TlsOptions
from mpchat.tls.pair import Pair
from tests.kit.descriptors import descriptors_open
from tests.unit.tls.made import FORKS, Made, authority, make, rsa_key

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
BOTH = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])

# OpenSSL compares clients' certificates with this machine's clock.
TODAY = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
ROOT = authority("root", begin=TODAY - 3 * DAY, end=TODAY + 3 * DAY)
FIRST = make("first", ROOT, names=("first.test", "*.wild.test"))
SECOND = make("second", ROOT, names=("second.test", "first.test"))
RSA = make("rsa", ROOT, key=rsa_key())
CLIENT = make("client", ROOT, begin=TODAY - DAY, end=TODAY + DAY)
EXPIRED = make("client", ROOT, begin=TODAY - 2 * DAY, end=TODAY - DAY)


def contexts(*made: Made, ca: bytes = b"", options: Mapping[str, Any] = {}) -> Contexts:
    def fail(error: Exception) -> None:
        raise AssertionError from error

    tls = TlsOptions.model_validate({"cert": "/a.crt", "private-key": "/a.key", **options})
    return Contexts(tls, material(*made, ca=ca), fail)


def material(*made: Made, ca: bytes = b"") -> Material:
    return Material(tuple(one.pair() for one in made), ca)


def client_context(
    version: ssl.TLSVersion | None = None, made: Made | None = None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.maximum_version = version
    if made is not None:
        made.configure(context)
    return context


class End:
    def __init__(self, context: ssl.SSLContext, server: bool, **more: Any) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server, **more)

    def step(self, other: End) -> bool:
        """Go on with the handshake, pass on what it has written; return whether it is done."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            other.incoming.write(self.outgoing.read())
        return True

    def send(self, other: End, data: bytes) -> bytes:
        self.tls.write(data)
        other.incoming.write(self.outgoing.read())
        return other.tls.read(len(data))


def begin(
    server: ssl.SSLContext, client: ssl.SSLContext | None = None, **more: Any
) -> tuple[End, End]:
    """Return both ends when the server has answered the first flight."""
    theirs = End(client or client_context(), False, **more)
    ours = End(server, True)
    theirs.step(ours)
    ours.step(theirs)
    return ours, theirs


def finish(ours: End, theirs: End) -> None:
    left = [(theirs, ours), (ours, theirs)]
    for _ in range(10):
        left = [(one, other) for one, other in left if not one.step(other)]
    assert not left
    assert ours.send(theirs, b"down") == b"down"  # and the ticket, which is before it
    assert theirs.send(ours, b"up") == b"up"


def connect(server: Contexts, client: ssl.SSLContext | None = None, **more: Any) -> tuple[End, End]:
    ours, theirs = begin(server.base, client, **more)
    finish(ours, theirs)
    return ours, theirs


def served(server: Contexts, name: str | None = None, client: ssl.SSLContext | None = None) -> Made:
    der = connect(server, client, server_hostname=name)[1].tls.getpeercert(binary_form=True)
    return next(made for made in (FIRST, SECOND, RSA) if made.der == der)


# What every connection has


@pytest.mark.parametrize("swapped", [False, True])
def test_alpn_in_every_context(swapped: bool) -> None:
    server = contexts(FIRST)
    if swapped:
        server.use(material(SECOND))
    client = client_context()
    client.set_alpn_protocols(["h2", "http/1.1"])
    assert connect(server, client)[0].tls.selected_alpn_protocol() == "http/1.1"
    client.set_alpn_protocols(["h2"])
    assert connect(server, client)[0].tls.selected_alpn_protocol() is None
    assert connect(server)[0].tls.selected_alpn_protocol() is None


@pytest.mark.parametrize("swapped", [False, True])
def test_the_suites_of_1_2_are_authenticated_encryption(swapped: bool) -> None:
    server = contexts(FIRST, RSA)
    if swapped:
        server.use(material(RSA))
    offered = {one["name"] for one in server.base.get_ciphers() if one["protocol"] == "TLSv1.2"}
    assert offered
    assert all("GCM" in name or "CHACHA20" in name for name in offered)
    for suite in (
        "ECDHE-ECDSA-AES256-SHA384",
        "ECDHE-RSA-AES128-SHA256",
        "ECDHE-RSA-AES128-SHA",
        "AES128-GCM-SHA256",
    ):
        client = client_context(V12)
        client.set_ciphers(f"{suite}:@SECLEVEL=0")
        with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
            begin(server.base, client)


def test_nothing_is_renegotiated() -> None:
    server = contexts(FIRST)
    server.use(material(SECOND))
    ours, _theirs = connect(server)
    assert ours.tls.context.options & ssl.OP_NO_RENEGOTIATION
    assert server.base.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_older_versions_are_refused(version: ssl.TLSVersion) -> None:
    client = client_context(version)
    client.minimum_version = version
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        begin(contexts(FIRST).base, client)


def test_min_version_is_of_all_contexts() -> None:
    server = contexts(FIRST, options={"min-version": "1.3"})
    server.use(material(SECOND))
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        begin(server.base, client_context(V12))
    assert connect(server)[0].tls.version() == "TLSv1.3"


# Names


@pytest.mark.parametrize(
    ("name", "made"),
    [
        (None, FIRST),
        ("first.test", FIRST),  # which the second has as well
        ("second.test", SECOND),
        ("SECOND.Test", SECOND),
        ("unknown.test", FIRST),
        ("rsa", RSA),  # a certificate without names has its subject
        ("192.0.2.1", FIRST),
        ("x" * 63 + ".test", FIRST),
    ],
)
@BOTH
def test_a_client_gets_the_certificate_of_the_name_it_asks_for(
    name: str | None, made: Made, version: ssl.TLSVersion
) -> None:
    assert served(contexts(FIRST, SECOND, RSA), name, client_context(version)) is made


def test_an_asterisk_stands_for_one_label() -> None:
    server = contexts(RSA, FIRST)
    assert served(server, "a.wild.test") is FIRST
    assert served(server, "A.WILD.test") is FIRST
    assert served(server, "a.b.wild.test") is RSA
    assert served(server, "wild.test") is RSA
    server.use(material(RSA, FIRST, make("c", ROOT, names=("*",))))
    assert served(server, "test") is RSA


def test_a_name_with_a_dot_at_its_end() -> None:
    """Python's client refuses to send one, but others do."""
    server = contexts(FIRST, SECOND)
    chosen = server._in_force.choose("second.test.")
    assert chosen is server._in_force.choose("second.test")
    assert chosen is not server._in_force.default


# Swapping


@BOTH
@pytest.mark.parametrize(("old", "new"), [(FIRST, SECOND), (FIRST, RSA), (RSA, SECOND)])
def test_new_handshakes_get_the_new_certificate(
    old: Made, new: Made, version: ssl.TLSVersion
) -> None:
    server = contexts(old)
    client = client_context(version)
    assert served(server, client=client) is old
    server.use(material(new))
    assert served(server, client=client) is new
    server.use(material(old))
    assert served(server, client=client) is old


def test_clients_of_one_kind_of_key_find_the_new_one_only() -> None:
    """A living context would have kept the old key of the other kind."""
    only_ec = client_context(V12)
    only_ec.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    server = contexts(FIRST)
    server.use(material(RSA))
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        begin(server.base, only_ec)
    server.use(material(SECOND))
    assert served(server, client=only_ec) is SECOND


@BOTH
def test_a_handshake_in_flight_ends_with_the_certificate_it_began_with(
    version: ssl.TLSVersion,
) -> None:
    server = contexts(FIRST)
    server.use(material(RSA))
    ours, theirs = begin(server.base, client_context(version))
    server.use(material(SECOND))
    finish(ours, theirs)
    assert theirs.tls.getpeercert(binary_form=True) == RSA.der


@BOTH
def test_open_connections_go_on(version: ssl.TLSVersion) -> None:
    server = contexts(FIRST)
    ours, theirs = connect(server, client_context(version))
    server.use(material(RSA))
    server.use(material(SECOND))
    gc.collect()
    assert ours.send(theirs, b"one") == b"one"
    assert theirs.send(ours, b"two") == b"two"


@BOTH
def test_tickets_stay_good(version: ssl.TLSVersion) -> None:
    server = contexts(FIRST)
    client = client_context(version)
    session = connect(server, client)[1].tls.session
    server.use(material(RSA))
    ours, theirs = connect(server, client, session=session)
    assert ours.tls.session_reused
    session = connect(server, client)[1].tls.session
    server.use(material(SECOND))
    assert connect(server, client, session=session)[0].tls.session_reused
    assert theirs.send(ours, b"x") == b"x"


def damaged(made: Made) -> Pair:
    return dataclasses.replace(made.pair(), key=made.key()[:100])


@pytest.mark.parametrize(
    "bad",
    [
        dataclasses.replace(SECOND.pair(), key=FIRST.key()),
        dataclasses.replace(SECOND.pair(), key=RSA.key()),
        dataclasses.replace(SECOND.pair(), chain=SECOND.pem[:300]),
        dataclasses.replace(SECOND.pair(), chain=SECOND.pem + ROOT.pem[:300] + b"\n"),
        dataclasses.replace(SECOND.pair(), chain=b""),
        dataclasses.replace(SECOND.pair(), chain=os.urandom(1000)),
        dataclasses.replace(SECOND.pair(), chain=ROOT.pem + SECOND.pem),
        dataclasses.replace(SECOND.pair(), key=SECOND.key()[:100]),
        dataclasses.replace(SECOND.pair(), key=b""),
        dataclasses.replace(SECOND.pair(), key=SECOND.key("secret"), passphrase="wrong"),
        dataclasses.replace(SECOND.pair(), key=SECOND.key("secret"), passphrase=None),
        dataclasses.replace(SECOND.pair(), key=SECOND.key("secret"), passphrase="s" * 2000),
        make("weak", ROOT, key=rsa_key(1024)).pair(),
    ],
    ids=[
        "key of another",
        "key of another kind",
        "half a certificate",
        "half a second certificate",
        "empty",
        "garbage",
        "authority first",
        "half a key",
        "no key",
        "wrong passphrase",
        "no passphrase",
        "long passphrase",
        "weak",
    ],
)
@BOTH
def test_a_pair_that_openssl_refuses_changes_nothing(bad: Pair, version: ssl.TLSVersion) -> None:
    server = contexts(FIRST, RSA)
    before = server._in_force
    opened = descriptors_open()
    for pairs in ((bad,), (SECOND.pair(), bad), (bad, SECOND.pair())):
        with pytest.raises((ssl.SSLError, ValueError)):
            server.use(Material(pairs))
    assert server._in_force is before
    assert descriptors_open() == opened
    client = client_context(version)
    assert served(server, "first.test", client) is FIRST
    assert served(server, "rsa", client) is RSA


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_a_system_without_descriptors_changes_nothing(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = contexts(FIRST)
    memfd_create, calls = system.memfd_create, 0

    def fail_once(name: str, flags: int) -> int:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.EMFILE, "Too many open files")
        return memfd_create(name, flags)

    monkeypatch.setattr(system, "memfd_create", fail_once)
    opened = descriptors_open()
    with pytest.raises(OSError, match="Too many open files"):
        server.use(material(SECOND, RSA))
    assert served(server) is FIRST
    assert descriptors_open() == opened
    server.use(material(SECOND, RSA))  # repeated, it works
    assert served(server) is SECOND


def test_what_has_not_changed_is_not_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    server = contexts(FIRST, SECOND)

    def fail(_name: str, _flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(system, "memfd_create", fail)
    server.use(material(SECOND, FIRST))
    assert served(server) is SECOND


def test_a_thousand_swaps_leave_nothing_behind() -> None:
    server = contexts(FIRST)
    opened = descriptors_open()
    gone = []
    for number in range(1000):
        server.use(material((SECOND, FIRST)[number % 2]))
        gone.append(weakref.ref(server._in_force.default))
    gc.collect()
    assert [one() for one in gone[:-1]] == [None] * 999
    assert descriptors_open() == opened


def test_a_context_lives_as_long_as_its_connections() -> None:
    server = contexts(FIRST)
    server.use(material(SECOND))
    context = weakref.ref(server._in_force.default)
    ours, theirs = connect(server)
    assert ours.tls.context is context()
    server.use(material(FIRST))
    gc.collect()
    assert context() is not None
    del ours, theirs
    gc.collect()
    assert context() is None


def test_contexts_that_nobody_uses_are_gone() -> None:
    server = contexts(FIRST)
    base = weakref.ref(server.base)
    del server
    gc.collect()
    assert base() is None


# In several processes


def in_a_fork(do: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            do()
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@BOTH
@FORKS
def test_a_ticket_is_good_in_every_worker(version: ssl.TLSVersion) -> None:
    server = contexts(FIRST)
    client = client_context(version)
    connect(server, client)
    session = connect(server, client)[1].tls.session

    def worker() -> None:
        assert connect(server, client, session=session)[0].tls.session_reused
        server.use(material(RSA))
        assert connect(server, client, session=session)[0].tls.session_reused
        assert served(server, client=client) is RSA

    in_a_fork(worker)
    in_a_fork(worker)
    assert served(server, client=client) is FIRST


@BOTH
def test_another_listener_does_not_take_its_tickets(version: ssl.TLSVersion) -> None:
    client = client_context(version)
    session = connect(contexts(FIRST), client)[1].tls.session
    assert not connect(contexts(FIRST), client, session=session)[0].tls.session_reused


@FORKS
def test_a_worker_without_rights_swaps() -> None:
    server = contexts(FIRST)

    def worker() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        server.use(material(RSA))
        assert served(server) is RSA

    in_a_fork(worker)


# Tickets


@BOTH
def test_one_ticket(version: ssl.TLSVersion) -> None:
    server = contexts(FIRST)
    server.use(material(SECOND))
    client = client_context(version)
    session = connect(server, client)[1].tls.session
    assert session is not None
    assert session.has_ticket
    assert server.base.num_tickets == 1
    assert connect(server, client, session=session)[0].tls.session_reused


@BOTH
@pytest.mark.parametrize("swapped", [False, True])
@FORKS
def test_no_tickets(version: ssl.TLSVersion, swapped: bool) -> None:
    server = contexts(FIRST, options={"session-tickets": False})
    if swapped:
        server.use(material(SECOND))
    client = client_context(version)
    session = connect(server, client)[1].tls.session
    assert session is None or not session.has_ticket

    def worker() -> None:
        assert not connect(server, client, session=session)[0].tls.session_reused

    in_a_fork(worker)


# Clients' certificates


@BOTH
@pytest.mark.parametrize("swapped", [False, True])
def test_with_ca_a_client_needs_a_certificate(version: ssl.TLSVersion, swapped: bool) -> None:
    server = contexts(FIRST, ca=b"our root\n" + ROOT.pem)
    if swapped:
        server.use(material(SECOND))
    ours, _theirs = connect(server, client_context(version, CLIENT))
    assert ours.tls.getpeercert()["subject"] == ((("commonName", "client"),),)  # type: ignore[index]
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        connect(server, client_context(version))
    for stranger in (
        make("client"),
        make("client", authority("root")),
        EXPIRED,
    ):
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(server, client_context(version, stranger))


def test_the_first_authorities_stay() -> None:
    other = authority("other")
    server = contexts(FIRST, ca=ROOT.pem)
    server.use(material(SECOND, ca=other.pem))
    connect(server, client_context(made=CLIENT))
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(server, client_context(made=make("client", other)))


@BOTH
def test_the_dates_of_a_resumed_clients_certificate_are_ours_to_check(
    version: ssl.TLSVersion,
) -> None:
    server = contexts(FIRST, ca=ROOT.pem)
    client = client_context(version, CLIENT)
    session = connect(server, client)[1].tls.session
    server.use(material(SECOND))
    ours, _theirs = connect(server, client, session=session)
    assert ours.tls.session_reused
    begin, end = (TODAY - DAY).timestamp(), (TODAY + DAY).timestamp()
    valid = [at for at in (begin - 1, begin, end, end + 1) if peer_is_valid(ours.tls, at)]
    assert valid == [begin, end]


def test_without_a_certificate_no_date_is_valid() -> None:
    ours, _theirs = connect(contexts(FIRST))
    assert not peer_is_valid(ours.tls, TODAY.timestamp())


# In doubt


def test_a_choice_that_fails_leaves_the_base_and_is_reported() -> None:
    errors: list[Exception] = []
    tls = TlsOptions.model_validate({"cert": "/a.crt", "private-key": "/a.key"})
    server = Contexts(tls, material(FIRST), errors.append)
    server.use(material(SECOND))
    server._in_force.default = object()  # type: ignore[assignment]
    assert served(server) is FIRST
    assert [type(error) for error in errors] == [TypeError]


def say_hello(server: Contexts, name: bytes) -> None:
    """Begin a handshake with a name that Python's client would not send."""
    theirs = End(client_context(), False, server_hostname="x" * len(name))
    ours = End(server.base, True)
    theirs.step(ours)
    hello = ours.incoming.read()
    ours.incoming.write(hello.replace(b"x" * len(name), name))
    with contextlib.suppress(ssl.SSLWantReadError):
        ours.tls.do_handshake()


def test_a_name_that_is_no_ascii_ends_its_handshake_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    server = contexts(FIRST)
    say_hello(server, b"good.name")
    with pytest.raises(ssl.SSLError, match="CALLBACK_FAILED"):
        say_hello(server, b"bad\xffname")
    assert [one.exc_type for one in told] == [UnicodeDecodeError]  # a traceback on stderr
    monkeypatch.setattr(sys, "unraisablehook", without_bad_names(told.append))
    with pytest.raises(ssl.SSLError, match="CALLBACK_FAILED"):
        say_hello(server, b"bad\xffname")
    assert len(told) == 1
    assert served(server) is FIRST


def test_only_tracebacks_of_names_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", without_bad_names(told.append))

    class Broken:
        def __init__(self, error: type[Exception]) -> None:
            self.error = error

        def __del__(self) -> None:
            if self.error is UnicodeDecodeError:
                b"\xff".decode("ascii")
            raise self.error

    for error in (UnicodeDecodeError, RuntimeError):
        Broken(error)
        gc.collect()
    assert [one.exc_type for one in told] == [UnicodeDecodeError, RuntimeError]


@pytest.mark.parametrize("name", [b"a\x01b", b"..", b"*.wild.test", b"xn--\x7f", b"%s%n", b" "])
def test_odd_names_get_the_first_certificate(name: bytes) -> None:
    say_hello(contexts(FIRST), name)

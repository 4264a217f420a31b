"""The contexts of a listener: a base, with which connections begin, and one for each certificate.

Rules. The base is made once, before any process is forked, and never loads a certificate again: it has
the keys of session tickets, which all workers share, and a failed load would break every later handshake.
Its callback gives each connection the context of a certificate in force. Connections keep theirs, and
with it its memory, until they end. A change of all certificates is one assignment, or none.
"""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import Callable
from typing import TypeAlias

from mpchat.tls.der import Certificate, read_chain
from mpchat.tls.material import Material
from mpchat.tls.options import TlsOptions
from mpchat.tls.pair import Pair
from mpchat.tls.settings import server_context

UnraisableHook: TypeAlias = Callable[["sys.UnraisableHookArgs"], object]

log = logging.getLogger("mpchat.tls")


def _log(error: Exception) -> None:
    log.error(
        "a connection keeps the first certificate: the choice of another failed", exc_info=error
    )


class _InForce:
    """The certificates in force: never changed, only replaced."""

    def __init__(self, contexts: dict[Pair, ssl.SSLContext]) -> None:
        self.contexts = contexts
        self.default = next(iter(contexts.values()))
        self._by_name: dict[str, ssl.SSLContext] = {}
        for pair, context in contexts.items():
            for name in _names(read_chain(pair.chain)[0]):
                self._by_name.setdefault(name, context)

    def choose(self, name: str | None) -> ssl.SSLContext:
        """Return the context for the name that a client asks for, or of the first certificate."""
        if name is None:
            return self.default
        name = name.lower().removesuffix(".")
        found = self._by_name.get(name)
        if found is None:
            # An asterisk stands for one label (RFC 6125, 6.4.3).
            found = self._by_name.get(f"*.{name.partition('.')[2]}")
        return found or self.default


class Contexts:
    """The contexts of one listener.

    ``report`` is called with an exception of the choice of a certificate, which nobody expects: the
    connection then gets the first certificate that the base has known.

    Attributes:
        base: What connections begin with.
    """

    def __init__(
        self,
        options: TlsOptions,
        material: Material,
        report: Callable[[Exception], None] = _log,
    ) -> None:
        """Make the contexts, with the first certificates.

        Raises:
            ssl.SSLError, ValueError: OpenSSL does not accept a pair, or an authority.
            OSError: The system refuses a descriptor or memory.
        """
        self._options = options
        self._ca = b"".join(one.der for one in read_chain(material.ca)) if material.ca else b""
        self._report = report
        self.base = self._new()
        material.pairs[0].load(self.base)
        self._in_force = self._build(material, {})
        self.base.sni_callback = self._choose

    @property
    def requires_certificates(self) -> bool:
        """Whether each client has a certificate of an authority."""
        return bool(self._ca)

    def use(self, material: Material) -> None:
        """Put certificates in force, for handshakes from now on; authorities stay as they are.

        Raises:
            ssl.SSLError, ValueError: OpenSSL does not accept a pair. Nothing has changed.
            OSError: The system refuses a descriptor or memory. Nothing has changed.
        """
        self._in_force = self._build(material, self._in_force.contexts)

    def _build(self, material: Material, known: dict[Pair, ssl.SSLContext]) -> _InForce:
        contexts = {}
        for pair in material.pairs:
            context = known.get(pair)
            if context is None:
                context = self._new()
                pair.load(context)
            contexts[pair] = context
        return _InForce(contexts)

    def _new(self) -> ssl.SSLContext:
        return server_context(self._options.min_version, self._options.session_tickets, self._ca)

    def _choose(self, connection: ssl.SSLObject, name: str | None, _base: ssl.SSLContext) -> None:
        try:
            connection.context = self._in_force.choose(name)
        except Exception as error:  # noqa: BLE001 - one that leaves would go to stderr and end the handshake
            self._report(error)


def peer_is_valid(connection: ssl.SSLObject, now: float) -> bool:
    """Return whether the client's certificate is valid at ``now``, in seconds since 1970.

    OpenSSL verifies a certificate when a session begins, and not again when a ticket resumes it.
    """
    peer = connection.getpeercert()
    if not peer:
        return False
    begin, end = (ssl.cert_time_to_seconds(str(peer[key])) for key in ("notBefore", "notAfter"))
    return begin <= now <= end


def without_bad_names(hook: UnraisableHook) -> UnraisableHook:
    """Return a hook for ``sys.unraisablehook`` that passes on all but tracebacks of clients' names.

    Python decodes the name that a client asks for before it calls us. It ends the handshake of one whose
    name is no ASCII, as it should, and has the hook write a traceback: any stranger could fill a log.
    """

    def passes(unraisable: sys.UnraisableHookArgs) -> None:
        traceback = unraisable.exc_traceback
        while traceback is not None and traceback.tb_next is not None:
            traceback = traceback.tb_next
        where = traceback.tb_frame.f_globals.get("__name__") if traceback is not None else None
        if unraisable.exc_type is not UnicodeDecodeError or where != ssl.__name__:
            hook(unraisable)

    return passes


def _names(certificate: Certificate) -> tuple[str, ...]:
    """Return the names by which clients ask for a certificate."""
    return tuple(name.lower() for name in certificate.names or (certificate.subject,))

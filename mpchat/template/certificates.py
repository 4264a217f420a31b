"""Reads the certificates of the listeners, checks them, and makes contexts of them for new processes.

Rules. All certificates are read with each generation of the dynamic config: a mistake in one refuses all.
One that is in force already is not checked again, so that its end, which is only told, holds nothing up.
``ca`` is read once. The base contexts are made before any process is forked: all workers share the keys
of their session tickets.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mpchat.config.secdist import SecdistProviderOptions
from mpchat.dynamic_config.fallback import read_bytes
from mpchat.errors import ConfigError, Problem, describe_os_error
from mpchat.linux.memfd import read_memfd
from mpchat.template.secdist import find_passphrase
from mpchat.tls.contexts import Contexts
from mpchat.tls.der import read_chain
from mpchat.tls.material import CLIENTS, OPERATORS, Material, pack, unpack
from mpchat.tls.options import CertificateOptions, TlsOptions
from mpchat.tls.pair import CertificateError, Pair, check, read_certificates
from mpchat.tls.shown import expiry_warning, show
from mpchat.worker.service import Service


@dataclass(frozen=True)
class Loaded:
    """Valid certificates of all listeners."""

    content: bytes
    """In the form for a memfd"""
    shown: list[dict[str, Any]]
    """What operators may know of them"""
    warnings: list[str]


class Certificates:
    """The certificates of a service, as its template knows them.

    ``listeners`` are the options of those that speak TLS; ``secdist`` is where the passphrases are that
    these name.
    """

    def __init__(
        self, listeners: Mapping[str, TlsOptions], secdist: SecdistProviderOptions | None = None
    ) -> None:
        self._listeners = listeners
        self._secdist = secdist
        self._known: dict[str, Material] = {}
        """What was in force or loaded last"""
        self._contexts: dict[str, Contexts] = {}
        self._generation = 0

    def know(self, content: bytes) -> None:
        """Take these for those in force; ``content`` is that of their memfd."""
        self._known = unpack(content)

    def load(self, now: float) -> Loaded:
        """Read and check all certificates; ``now`` is in seconds since 1970.

        Raises:
            ConfigError: All mistakes of all files.
        """
        problems: list[Problem] = []
        shown: list[dict[str, Any]] = []
        warnings: list[str] = []
        found: dict[str, Material] = {}
        for name, options in self._listeners.items():
            known = self._known.get(name)
            in_force = known.pairs if known is not None else ()
            pairs = []
            for one in options.pairs():
                with _noting(problems, one.cert):
                    pair = self._read(one)
                    if pair not in in_force:
                        check(pair, now)
                    pairs.append(pair)
                    shown.append(show(name, pair.cert_path, read_chain(pair.chain)[0]))
            authorities = []
            for path in options.ca:
                with _noting(problems, path):
                    content = read_bytes(path)
                    read_certificates(path, content)
                    authorities.append(content)
            ca = b"\n".join(authorities)
            if known is not None and ca != known.ca:
                text = f"{name}.tls.ca has changed: `mpchat restart` takes that into account"
                warnings.append(text)
                ca = known.ca
            found[name] = Material(tuple(pairs), ca)
        if problems:
            raise ConfigError(problems)
        self._known = found
        warnings += filter(None, (expiry_warning(one, now) for one in shown))
        return Loaded(pack(found), shown, warnings)

    def _read(self, options: CertificateOptions) -> Pair:
        passphrase = None
        if options.private_key_passphrase is not None:
            passphrase = options.private_key_passphrase.get_secret_value()
        elif options.private_key_passphrase_name is not None:
            assert self._secdist is not None, "the static config would have mistakes"
            passphrase = find_passphrase(self._secdist, options.private_key_passphrase_name)
        return Pair(
            options.cert,
            options.private_key,
            read_bytes(options.cert),
            read_bytes(options.private_key),
            passphrase,
        )

    def contexts_of(self, generation: int, memfd: int) -> dict[str, Contexts]:
        """Return the contexts of a generation, by listener, for a process that is about to be forked.

        Raises:
            OSError: The system refuses what it takes to make them.
        """
        if generation != self._generation:
            self.know(read_memfd(memfd))
            for name, material in self._known.items():
                if name in self._contexts:
                    self._contexts[name].use(material)
                else:
                    self._contexts[name] = Contexts(self._listeners[name], material)
            self._generation = generation
        return self._contexts


def certificates_of(service: Service) -> Certificates:
    """Return those of a service's listeners, of which nothing has been read."""
    listeners = {}
    if service.server.listener.tls is not None:
        listeners[CLIENTS] = service.server.listener.tls
    console = service.console.listener if service.console is not None else None
    if console is not None and console.tls is not None:
        listeners[OPERATORS] = console.tls
    return Certificates(listeners, service.secdist)


@contextlib.contextmanager
def _noting(problems: list[Problem], path: str) -> Iterator[None]:
    """Note what is wrong with a file; ``path`` is for what the system refuses."""
    try:
        yield
    except ConfigError as error:
        problems += error.problems
    except CertificateError as error:
        problems.append(Problem(error.path, 0, 0, "", error.text))
    except OSError as error:
        text = f"cannot be checked now: {describe_os_error(error)}"
        problems.append(Problem(path, 0, 0, "", text))

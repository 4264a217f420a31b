"""Finds passphrases of private keys in secdist.

Rules. The sources are read anew each time, in userver's order. No text repeats a secret.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from mpchat.config.secdist import PROVIDER, SecdistOptions, SecdistProviderOptions
from mpchat.config.variables import Variables, substitute
from mpchat.config.yaml_file import Document, Path, problem, read_yaml
from mpchat.dynamic_config.fallback import read_file
from mpchat.dynamic_config.json_file import read_json
from mpchat.errors import ConfigError, Problem
from mpchat.server.options import PortOptions, ServerOptions

_PASSPHRASES = "passphrases"


def provider_of(
    secdist: SecdistOptions | None, provider: SecdistProviderOptions | None
) -> SecdistProviderOptions | None:
    """Return where secrets are by these sections, or None."""
    if provider is None or not provider.load_enabled:
        return None
    return provider if secdist is None or secdist.load_enabled else None


def passphrase_names(server: ServerOptions) -> Iterator[Path]:
    """Yield the places, below the section server, of options that name a passphrase."""
    listener, monitor = server.listener, server.listener_monitor
    places: dict[Path, PortOptions | None] = {
        ("listener",): listener,
        **{("listener", "ports", number): place for number, place in enumerate(listener.ports)},
        ("listener-monitor",): monitor,
    }
    for path, place in places.items():
        if place is None or place.tls is None:
            continue
        for number, one in enumerate(place.tls.pairs()):
            if one.private_key_passphrase_name is not None:
                inside: Path = ("certificates", number - 1) if number else ()
                yield (*path, "tls", *inside, "private-key-passphrase-name")


def find_passphrase(options: SecdistProviderOptions, name: str) -> str:
    """Return the passphrase of that name.

    Raises:
        ConfigError: No source has it, or a source has mistakes.
    """
    found: str | None = None
    known: set[str] = set()
    searched: list[str] = []
    for document in _documents(options):
        searched.append(document.file)
        passphrases = _mapping_of(document)
        known |= set(passphrases)
        if name in passphrases:
            found = passphrases[name]
            if not isinstance(found, str):
                path = (_PASSPHRASES, name)
                raise ConfigError([problem(document, path, "expected a string, in quotes")])
    if found is None:
        has = f"has only {', '.join(sorted(known))}" if known else "has none"
        text = f"there is no such passphrase; {', '.join(searched) or 'secdist, without sources,'} {has}"
        raise ConfigError([Problem("secdist", 0, 0, f"{_PASSPHRASES}.{name}", text)])
    return found


def _documents(options: SecdistProviderOptions) -> Iterator[Document]:
    """Yield the sources that are there."""
    if options.config is not None:
        try:
            text = read_file(options.config)
        except ConfigError as error:
            if not (options.missing_ok and isinstance(error.__cause__, FileNotFoundError)):
                raise
        else:
            yield _parse(text, options.config, options.format)
    if options.inline is not None:
        yield Document(f"{PROVIDER}.inline", options.inline.get_secret_value(), {})
    key = options.environment_secrets_key
    if key is not None and key in os.environ:
        yield _whole(read_json(os.environ[key], f"environment variable {key}"))


def _parse(text: str, path: str, form: str) -> Document:
    if form == "json":
        return _whole(read_json(text, path))
    document = read_yaml(text, path)
    if form == "yaml_config":
        document = substitute(document, Variables((), os.environ, read_file))
    return _whole(document)


def _whole(document: Document) -> Document:
    if document.problems:
        raise ConfigError(document.problems)
    return document


def _mapping_of(document: Document) -> dict[str, Any]:
    """Return the passphrases of a source."""
    if not isinstance(document.value, dict):
        raise ConfigError([problem(document, (), f"expected a mapping with {_PASSPHRASES}")])
    passphrases = document.value.get(_PASSPHRASES, {})
    if not isinstance(passphrases, dict):
        path = (_PASSPHRASES,)
        raise ConfigError([problem(document, path, "expected a mapping of passphrases by name")])
    return passphrases

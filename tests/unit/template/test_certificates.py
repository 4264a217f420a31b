"""The listeners' certificates: what is read, refused, told, and kept from one reload to the next."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mpchat.errors import ConfigError
from mpchat.linux.memfd import sealed_memfd
from mpchat.template import certificates as module
from mpchat.template.certificates import Certificates, certificates_of
from mpchat.tls.material import CLIENTS, OPERATORS, unpack
from mpchat.tls.options import TlsOptions
from tests.kit.certificates import DAY, PASSPHRASE, PairFiles
from tests.kit.certificates import Certificates as Files
from tests.unit.template.sections import load, mistakes

CONFIG = """\
components_manager:
    task_processors: {main: {worker_threads: 1}}
    default_task_processor: main
    components:
        server:
            listener: {port: 1, tls: {cert: a.pem, private-key: a.key}}
            listener-monitor: {port: 2, tls: {cert: /b.pem, private-key: /b.key}}
        logging: {loggers: {default: {file_path: "@stderr"}}}
        websocket-handler: {path: /chat}
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("certificates"))


def options(pair: PairFiles, **more: Any) -> TlsOptions:
    return TlsOptions.model_validate({**pair.options, **more})


def copy(pair: PairFiles, folder: Path) -> PairFiles:
    """Put a pair where others were."""
    taken = PairFiles(folder / "cert.pem", folder / "key.pem")
    shutil.copy(pair.cert, taken.cert)
    shutil.copy(pair.key, taken.key)
    return taken


def refusal(certificates: Certificates) -> str:
    with pytest.raises(ConfigError) as caught:
        certificates.load(time.time())
    return str(caught.value)


@contextmanager
def memfd_of(content: bytes) -> Iterator[int]:
    descriptor = sealed_memfd("test", content)
    yield descriptor
    os.close(descriptor)


def test_paths_are_relative_to_the_config(tmp_path: Path) -> None:
    listeners = certificates_of(load(CONFIG, tmp_path))._listeners
    assert listeners[CLIENTS].cert == str(tmp_path / "a.pem")
    assert listeners[OPERATORS].private_key == "/b.key"


def test_tls_may_stand_in_an_entry_of_ports(tmp_path: Path) -> None:
    place = "port: 1, tls: {cert: a.pem, private-key: a.key}"
    service = load(CONFIG.replace(place, f"ports: [{{{place}}}]"), tmp_path)
    assert service.server.listener.tls is not None
    twice = f"tls: {{cert: a.pem, private-key: a.key}}, ports: [{{{place}}}]"
    assert "one entry of ports" in mistakes(CONFIG.replace(place, twice), tmp_path)


def test_a_passphrase_is_given_in_one_way(tmp_path: Path) -> None:
    both = "private-key-passphrase: a, private-key-passphrase-name: b, private-key"
    text = mistakes(CONFIG.replace("private-key: a", f"{both}: a"), tmp_path)
    assert "either private-key-passphrase-name or private-key-passphrase" in text


def test_what_is_loaded_serves_in_another_process(files: Files) -> None:
    certificates = Certificates({CLIENTS: options(files.chained)})
    loaded = certificates.load(time.time())
    assert unpack(loaded.content)[CLIENTS].pairs[0].chain == files.chained.cert.read_bytes()
    assert loaded.warnings == []
    (shown,) = loaded.shown
    assert (shown["listener"], shown["path"]) == (CLIENTS, str(files.chained.cert))
    assert shown["names"] == ["localhost", "127.0.0.1", "::1"]
    other = Certificates({CLIENTS: options(files.chained)})
    with memfd_of(loaded.content) as memfd:
        contexts = other.contexts_of(1, memfd)[CLIENTS]
        assert other.contexts_of(1, memfd)[CLIENTS] is contexts
    base = contexts.base
    newer = Certificates({CLIENTS: options(files.rsa)}).load(time.time())
    with memfd_of(newer.content) as memfd:
        # The tickets' keys are the base's: it stays.
        assert other.contexts_of(2, memfd)[CLIENTS].base is base


def test_all_mistakes_of_all_listeners_are_told_at_once(files: Files, tmp_path: Path) -> None:
    listeners = {
        CLIENTS: options(files.expired, ca=[str(tmp_path / "none.pem"), str(files.ec.key)]),
        OPERATORS: options(PairFiles(tmp_path / "no.pem", files.ec.key)),
    }
    text = refusal(Certificates(listeners))
    assert len(text.splitlines()) == 4
    assert f"{files.expired.cert}: " in text
    assert " expired on " in text
    assert f"{tmp_path / 'none.pem'}: cannot be read: No such file or directory" in text
    assert f"{tmp_path / 'no.pem'}: cannot be read" in text


def test_an_encrypted_key_needs_its_passphrase(files: Files) -> None:
    given = options(files.encrypted, **{"private-key-passphrase": PASSPHRASE})
    assert PASSPHRASE not in repr(given)
    Certificates({CLIENTS: given}).load(time.time())
    assert "no passphrase" in refusal(Certificates({CLIENTS: options(files.encrypted)}))
    wrong = options(files.encrypted, **{"private-key-passphrase": "another"})
    assert "passphrase is wrong" in refusal(Certificates({CLIENTS: wrong}))


def test_one_that_expires_while_in_force_holds_nothing_up(files: Files, tmp_path: Path) -> None:
    pair = copy(files.issue(ends=DAY), tmp_path)
    certificates = Certificates({CLIENTS: options(pair)})
    (warning,) = certificates.load(time.time()).warnings
    assert f"{pair.cert}: the certificate for localhost expires in " in warning
    (warning,) = certificates.load(time.time() + 2 * DAY).warnings
    assert "has expired" in warning
    copy(files.expired, tmp_path)
    assert " expired on " in refusal(certificates)


def test_other_authorities_need_a_restart(files: Files, tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    shutil.copy(files.ca, authority)
    certificates = Certificates({CLIENTS: options(files.ec, ca=[str(authority)])})
    before = unpack(certificates.load(time.time()).content)[CLIENTS].ca
    shutil.copy(files.other_ca, authority)
    loaded = certificates.load(time.time())
    assert loaded.warnings == [
        "listener.tls.ca has changed: `mpchat restart` takes that into account"
    ]
    assert unpack(loaded.content)[CLIENTS].ca == before


def test_what_the_system_refuses_is_told(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pair: object, _now: float) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(module, "check", refuse)
    text = refusal(Certificates({CLIENTS: options(files.ec)}))
    assert text == f"{files.ec.cert}: cannot be checked now: Too many open files"

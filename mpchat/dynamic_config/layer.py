"""The layer of a config service: what it has said, and the file that keeps that for the next start.

Rules. What is said comes from a process that talks to the network, and the file may be anybody's: the
form of both is checked before their values are. Their unknown variables are kept without a word, since a
config service has variables of many services and versions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mpchat.config.yaml_file import Document
from mpchat.dynamic_config.fallback import read_file
from mpchat.dynamic_config.json_file import read_json
from mpchat.errors import ConfigError, Problem

_VARIABLE = re.compile("[A-Za-z][A-Za-z0-9_.-]*")
"""userver demands no form; this is what its own variables and those of its users look like"""


def to_bytes(source: str, values: Mapping[str, Any]) -> bytes:
    """Return the form in which what ``source`` has said travels to the template."""
    return json.dumps({"source": source, "values": dict(values)}).encode()


def read_said(content: bytes) -> Document:
    """Return what the config service has said.

    Raises:
        ConfigError: The content is not what ``to_bytes`` makes.
    """
    try:
        match json.loads(content):
            case {"source": str(source), "values": dict(values)}:
                return Document(f"config service {source}", values, {(): (0, 0)})
    except (ValueError, RecursionError) as error:
        text = f"the console passes on what is not JSON: {error}"
        raise ConfigError([Problem("config service", 0, 0, "", text)]) from error
    text = "the console passes on what is no set of variables"
    raise ConfigError([Problem("config service", 0, 0, "", text)])


def read_cache(path: str) -> Document:
    """Return what the config service had said when the file was written.

    Raises:
        ConfigError: There is none yet, it cannot be read, or it is not a file of variables.
    """
    document = read_json(read_file(path), path)
    strange = [name for name in document.value if not _VARIABLE.fullmatch(name)]
    if strange:
        text = f"not a cache of variables: it has {strange[0][:100]!r}"
        raise ConfigError([Problem(path, 1, 1, "", text)])
    return replace(document, file=f"cache {path}")

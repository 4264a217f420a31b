"""The verb ``mpchat top``."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import click

from mpchat.cli.options import control_socket, service_options
from mpchat.cli.watching import until_nobody_reads
from mpchat.errors import ExitCode, StartError

_DUMB = {"", "dumb", "unknown"}
"""Values of TERM of terminals that only know how to go on with the next line."""


@click.command()
@service_options
def top(**options: Any) -> None:
    """Watch a running service in a terminal: workers, rates, rooms, limits, changes.

    Letters and arrows sort the workers, Enter shows the connections of one; the key ? tells more. A
    narrow terminal gets fewer columns. With NO_COLOR there are no colours. On a dumb terminal (TERM), a
    table is printed each second until Ctrl-C; in a pipe or a file, one table.
    """
    path = control_socket(options)
    try:
        import rich  # noqa: F401, PLC0415 - the extra, which only this verb needs
    except ImportError as error:
        text = "top needs rich: pip install 'mpchat[top]'"
        raise StartError(text, ExitCode.USAGE) from error
    from mpchat.cli.top import loop, plain  # noqa: PLC0415 - they import rich

    if isinstance(sys.stdout, io.TextIOWrapper):
        # The name of a room may have characters that the terminal has not.
        sys.stdout.reconfigure(errors="replace")
    if not sys.stdout.isatty():
        with until_nobody_reads(sys.stdout):
            plain.print_once(path, sys.stdout)
    elif os.environ.get("TERM", "") in _DUMB or not sys.stdin.isatty():
        with until_nobody_reads(sys.stdout):
            plain.print_forever(path, sys.stdout)
    else:
        loop.watch(path)

"""A service that speaks TLS: an echo, a ping, and a handler that tells what it knows of its client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.kit.certificates import Certificates

APP = """
import json
import os

from mpchat import HttpHandlerBase, default_component_list, response


class Who(HttpHandlerBase):
    name = "handler-who"

    async def handle_request(self, request, context):
        known = {
            "pid": os.getpid(),
            "address": context.remote_address,
            "certificate": context.peer_certificate,
        }
        return response(200, json.dumps(known))


components = default_component_list().append(Who)
"""
COMMAND = ("--app", "secure:components")


def secured(
    config: Any, certificates: Certificates, folder: Path, /, workers: int = 2, **options: Any
) -> Any:
    """Have a config's listener speak TLS, by options whose names have underscores; return it.

    The module that COMMAND names is written into the folder.
    """
    (folder / "secure.py").write_text(APP)
    manager = config["components_manager"]
    manager["task_processors"]["main-task-processor"]["worker_threads"] = workers
    components = manager["components"]
    named = {name.replace("_", "-"): value for name, value in options.items()}
    components["server"]["listener"]["tls"] = {**certificates.ec.options, **named}
    components["handler-who"] = {"path": "/who", "task_processor": "main-task-processor"}
    components["websocket-handler"]["max-remote-payload"] = 1 << 20
    return config

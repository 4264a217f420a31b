"""mpchat's own echo in a worker that takes all steps of TLS handshakes as they come, without a queue."""

from __future__ import annotations

import sys
from functools import partial

import mpchat.worker.worker
from mpchat import default_component_list
from mpchat.websocket.thresholds import Thresholds

vars(mpchat.worker.worker)["Thresholds"] = partial(Thresholds, tls_steps=sys.maxsize)

components = default_component_list()

"""mpchat's own echo in a worker that times no answer, to see what the timing costs.

The counts stay, sizes of messages included: without them this would be another program.
"""

from __future__ import annotations

from functools import partial

import mpchat.worker.worker
from mpchat import default_component_list
from mpchat.websocket.thresholds import Thresholds

_NEVER = 1 << 62

vars(mpchat.worker.worker)["Thresholds"] = partial(Thresholds, timed_every=_NEVER)

components = default_component_list()

"""What numbers the messages of a broker: a history, or a count where there is none."""

from __future__ import annotations

from typing import TypeAlias

from mpchat.broker.history import History
from mpchat.broker.unstored import Unstored

Store: TypeAlias = History | Unstored

"""What of a connection can be written out and read back, so that another worker goes on with it.

Rules. Plain values only. Each part of a connection writes its own state (``to_state``) and continues from
one (``continue_from``), after its constructor.
"""

from __future__ import annotations

from typing import Any

State = dict[str, Any]
"""Plain values by name: None, bool, int, float, str, bytes, and lists, tuples and dicts of those"""

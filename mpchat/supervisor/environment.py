"""The environment variables by which a command line learns that it is the template.

The command reads them before it knows whether it becomes a supervisor: nothing is imported here.
"""

from __future__ import annotations

CHANNEL_VARIABLE = "MPCHAT_TEMPLATE_CHANNEL"
"""Names the descriptor of the template's channel."""

STDERR_VARIABLE = "MPCHAT_TEMPLATE_STDERR"
"""Names the descriptor of its stderr, if what it writes while it loads goes to the supervisor instead."""

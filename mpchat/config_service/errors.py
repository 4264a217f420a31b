"""What an update from the config service can fail with."""

from __future__ import annotations

from mpchat.errors import MpchatError


class UpdateFailed(MpchatError):
    """The config service could not be asked, or its answer cannot be used; the text says which and why.

    Attributes:
        again: Whether the next attempt of the same update may fare better.
    """

    def __init__(self, text: str, *, again: bool = False) -> None:
        super().__init__(text)
        self.again = again

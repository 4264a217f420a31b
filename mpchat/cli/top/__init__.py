"""``mpchat top``: a service watched in a terminal, with keys."""

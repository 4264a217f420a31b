"""Random handshakes, decided by us, by a model and by h11 with wsproto: ``python -m tests.fuzz``."""

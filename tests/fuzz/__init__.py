"""Random handshakes, bodies and frames, decided by us and by others: ``python -m tests.fuzz``."""

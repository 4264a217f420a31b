"""Random handshakes and frames, decided by us and by other libraries: ``python -m tests.fuzz``."""

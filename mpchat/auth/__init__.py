"""Checkers: who sends a request, by a token, a signed cookie, a JWT or a ticket."""

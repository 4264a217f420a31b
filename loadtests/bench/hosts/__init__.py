"""Rooms across two hosts: what a message costs, how long it takes, and how long a restart of a broker.

Rules. As in the other benchmark: CPU time is the scheduler's, read while everything rests; all engines
have their members all the time and take turns; what is reported is the median of the rounds.
"""

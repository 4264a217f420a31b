"""The shared memory in which processes publish numbers: counters, states, addresses."""

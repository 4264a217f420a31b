"""Congestion control: how many requests a second a busy worker takes, by userver's rules. Pure."""

"""The engine ``nats``: hosts share rooms by a stream of NATS JetStream, which keeps their messages."""

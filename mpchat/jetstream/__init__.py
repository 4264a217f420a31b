"""NATS JetStream for rooms: the connection, the stream, its messages; nothing of members or workers."""

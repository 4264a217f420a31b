"""WebSocket: bytes to messages (scanner), the asyncio side (protocol), what a handler sees."""

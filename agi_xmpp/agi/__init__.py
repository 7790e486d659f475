"""Asterisk → us: FastAGI. `wire` (the protocol, no I/O), `channel` (one call's conversation), `server` (asyncio)."""

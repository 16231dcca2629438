"""The method, pure: no I/O, no asyncio, no clock, no randomness, no logging."""

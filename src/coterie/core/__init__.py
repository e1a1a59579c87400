"""The replica: pure, deterministic, told the time. No I/O, no clock, no threads, no asyncio."""

"""The native client: a synchronous core, and thin shells around it."""

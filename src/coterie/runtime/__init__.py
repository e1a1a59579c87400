"""The asyncio shell around the engine: sockets, timers, the sync thread, configuration, `Node`."""

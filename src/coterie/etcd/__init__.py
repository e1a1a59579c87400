"""The etcd v3 API: services on top of the engine and the key-value machine, for existing clients unchanged."""

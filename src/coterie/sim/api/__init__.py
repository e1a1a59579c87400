"""The etcd services in the simulated world: a member's host of them, callers, and the judges of their answers."""

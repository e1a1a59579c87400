"""Advice for a network: which protocol, where the replicas, which quorums, timeouts, limits; expected, and tried."""

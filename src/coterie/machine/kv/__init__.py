"""The built-in key-value machine: revisions, ranges, transactions, history until compaction."""

from coterie.machine.kv.machine import KeyValue

KeyValue.__module__ = __name__  # its public name: coterie.machine.kv:KeyValue

__all__ = ["KeyValue"]

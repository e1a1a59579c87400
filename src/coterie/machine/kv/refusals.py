"""Why commands and questions are refused: etcd's words, without its "etcdserver: ", wherever etcd refuses the same."""

from __future__ import annotations

from coterie.machine.interface import Rejected

EMPTY_KEY = Rejected("key is not provided")
VALUE_PROVIDED = Rejected("value is provided")
LEASE_PROVIDED = Rejected("lease is provided")
KEY_NOT_FOUND = Rejected("key not found")
LEASE_NOT_FOUND = Rejected("requested lease not found")
FUTURE = Rejected("mvcc: required revision is a future revision")
COMPACTED = Rejected("mvcc: required revision has been compacted")
DUPLICATE_KEY = Rejected("duplicate key given in txn request")
TOO_MANY_OPERATIONS = Rejected("too many operations in txn request")
LEASE_EXISTS = Rejected("lease already exists")
TTL_TOO_LARGE = Rejected("too large lease TTL")
NO_SPACE = Rejected("mvcc: database space exceeded")
CORRUPT = Rejected("corrupt cluster")

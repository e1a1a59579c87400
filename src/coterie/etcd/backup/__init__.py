"""etcd's snapshot files: written from the key-value machine's state, and read into it.

What `etcdctl snapshot save` receives is a bbolt database (`bolt_pages.py` has its format, `bolt.py` the writer,
`bolt_reader.py` the reader) and its SHA-256. `etcd_buckets.py` says what etcd 3.5 keeps in the database's buckets;
`saving.py` and `loading.py` turn a state into such a file and back, `machine_state.py` a machine's snapshot into
such a state and back.

The length of a file must be known before its first byte is sent (every message of Maintenance.Snapshot says how
much is left), and so must its root page, which stands in its first page. Two passes over the state would give both
without a file, but they read and decode everything twice, hold the store's view open for both, and items from
before the compaction would have to be sorted twice. So there is one pass, into a scratch file of the caller's, which
is then sent: memory stays bounded, and a slow receiver holds no view of the store.
"""

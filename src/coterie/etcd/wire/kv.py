"""Messages of `kv.proto`; `kv.pyi` tells type checkers of them."""

from coterie.etcd.wire.loading import messages

globals().update(messages("kv.proto"))

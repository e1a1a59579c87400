"""Messages of `lock.proto`; `lock.pyi` tells type checkers of them."""

from coterie.etcd.wire.loading import messages

globals().update(messages("lock.proto"))

"""Messages of `rpc.proto`; `rpc.pyi` tells type checkers of them."""

from coterie.etcd.wire.loading import messages

globals().update(messages("rpc.proto"))

"""Messages of `health.proto`; `health.pyi` tells type checkers of them."""

from coterie.etcd.wire.loading import messages

globals().update(messages("health.proto"))

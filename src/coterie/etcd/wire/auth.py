"""Messages of `auth.proto`; `auth.pyi` tells type checkers of them."""

from coterie.etcd.wire.loading import messages

globals().update(messages("auth.proto"))

"""Messages of `election.proto`; `election.pyi` tells type checkers of them."""

from coterie.etcd.wire.loading import messages

globals().update(messages("election.proto"))

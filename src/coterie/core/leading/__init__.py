"""The leader's side, the same in both protocols: whom it sends to, what it may rely on, what it is asked for."""

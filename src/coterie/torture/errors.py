"""What a run needs and this machine does not have."""

from __future__ import annotations

from coterie.core.errors import CoterieError


class Missing(CoterieError):
    """Something that is needed is not installed, or not allowed here; the message says what, and how to get it."""


class ClusterFailed(CoterieError):
    """A member ended by itself, or the cluster did not become whole in time; the message has its last words."""

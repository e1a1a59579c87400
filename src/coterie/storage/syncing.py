"""How a sync fails: for good."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""What a write says that found no space: it may be tried again."""


def sync_once(sync: Callable[[], None], where: str) -> None:
    """Sync. No error of it is one to try again after: not even a late ENOSPC, which dropped the pages (EIO then)."""
    try:
        sync()
    except OSError as error:
        if error.errno in NO_SPACE:
            raise OSError(errno.EIO, f"the sync failed ({os.strerror(error.errno)})", where) from error
        raise

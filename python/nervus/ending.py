"""What is open when the process ends: its threads may need the interpreter, which must not end before them."""
from __future__ import annotations

import atexit
import contextlib
import os
import weakref
from typing import Protocol


class Ending(Protocol):
    """What has threads."""

    def _end(self) -> None:
        """Ends them, and lets go what would hold it through its log."""


_open: weakref.WeakSet[Ending] = weakref.WeakSet()
os.register_at_fork(after_in_child=_open.clear)  # the threads, and their connections, are the parent's


def end_with_process(one: Ending) -> None:
    """Ends it when the process does, if it is still there."""
    _open.add(one)


@atexit.register
def _end_all() -> None:
    for one in list(_open):
        with contextlib.suppress(Exception):  # the others' threads are to end, too
            one._end()

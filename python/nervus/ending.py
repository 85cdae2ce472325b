"""What is open when the process ends: its threads may need the interpreter, which must not end before them."""
from __future__ import annotations

import atexit
import contextlib
import os
import weakref
from typing import Any

_open: weakref.WeakSet[contextlib.AbstractContextManager[Any]] = weakref.WeakSet()
os.register_at_fork(after_in_child=_open.clear)  # the threads, and their connections, are the parent's


def end_with_process(one: contextlib.AbstractContextManager[Any]) -> None:
    """Leaves it when the process ends, if it is still there."""
    _open.add(one)


@atexit.register
def _leave_all() -> None:
    for one in list(_open):
        with contextlib.suppress(Exception):  # the others' threads are to end, too
            one.__exit__(None, None, None)

# SPDX-License-Identifier: Apache-2.0
"""A command's own standard streams: open, forgiving about characters, and with failures that can be told."""

from __future__ import annotations

import io
import os
import sys

from boxship import errors


def standard_streams() -> None:
    """Descriptors 0, 1 and 2 are open: the next file would take the number of a closed one, and our output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, os.O_RDWR)  # the lowest free number: the closed one's
            os.set_inheritable(fd, True)
            setattr(sys, name, os.fdopen(fd, "w" if number else "r"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # '…' in a locale without it, a file name that is no text: shown as escapes, not an error.
        sys.stdout.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Write what is buffered while a failure can still be told; at exit it would be a traceback."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_output()
        raise errors.KernelError.from_os("write", error, path="standard output") from None


def drop_output() -> None:
    """What is still buffered goes nowhere: whoever read it has gone."""
    fd = os.open(os.devnull, os.O_WRONLY)
    os.dup2(fd, 1)
    os.close(fd)

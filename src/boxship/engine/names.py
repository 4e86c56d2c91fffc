# SPDX-License-Identifier: Apache-2.0
"""Ids and names of containers.

Ids are 64 hexadecimal digits as Docker's, of which the first 12 are shown. A name is claimed by a symbolic link to the
id beside the containers' directories: symlink(2) lets one caller win, and a look-up reads one link.
"""

from __future__ import annotations

import fcntl
import os

from boxship.errors import Conflict, InvalidRequest
from boxship.runtime.state import BESIDE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.undo import Undo

SHORT = 12
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


def new_id() -> str:
    """A random id whose short form does not look like a number."""
    while True:
        found = os.urandom(32).hex()
        if not found[:SHORT].isdecimal():
            return found


def check(name: str) -> str:
    """A name as Docker has them: a letter or digit, then also ``_ . -``; 2 … 128 characters."""
    if not 2 <= len(name) <= 128 or name[0] not in _LETTERS or not set(name) <= _LETTERS | set("_.-"):
        raise InvalidRequest(
            f"--name {name}: not a name", hint="a letter or digit, then letters, digits, '_', '.' and '-', at least two"
        )
    return name


def claim(root: str, name: str, container: str, undo: Undo) -> None:
    """Give the name to the container; Conflict when another one has it. A name whose container is gone is free."""
    if name == container[: len(name)]:  # its own id is nobody else's
        return
    try:
        os.symlink(container, _link(root, name))
    except FileExistsError:
        _take_over(root, name, container)
    undo.push(release, root, name, container)


def _take_over(root: str, name: str, container: str) -> None:
    """A link that is there already: its container is gone, or the name is in use. One caller at a time."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        other = owner(root, name)
        if other:
            raise Conflict(f"the name {name} is in use by container {other}", hint=f"choose another, or box rm {name}")
        release(root, name, "")
        os.symlink(container, _link(root, name))
    finally:
        os.close(fd)


def owner(root: str, name: str) -> str:
    """The id of the container with this name, or an empty string."""
    try:
        found = os.readlink(_link(root, name))
    except OSError:  # nobody has it; or it is a word that cannot be a name
        return ""
    return found if os.path.isdir(f"{root}/{found}") else ""


def release(root: str, name: str, container: str) -> None:
    """Give the name back, if it is still this container's; an empty ``container`` stands for any."""
    path = _link(root, name)
    try:
        if not container or os.readlink(path) == container:
            os.unlink(path)
    except FileNotFoundError:
        return


def _link(root: str, name: str) -> str:
    return f"{root}/{BESIDE}{BESIDE}{name}"

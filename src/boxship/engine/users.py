# SPDX-License-Identifier: Apache-2.0
"""``--user`` against the host's own passwd and group files: the container has the same ones."""

from __future__ import annotations

from boxship.errors import InvalidRequest
from boxship.record import Record


class Identity(Record):
    """Ids, supplementary groups and home directory of a user."""

    uid: int
    gid: int
    groups: list[int]
    home: str


def resolve(word: str) -> Identity:
    """``USER``, ``UID``, ``USER:GROUP``, ``UID:GID``; empty is root."""
    if not word or word in ("0", "root"):
        return Identity(0, 0, [], "/root")
    import grp
    import pwd

    name, _, group = word.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        entry = None
    if entry is None and not name.isdecimal():
        raise InvalidRequest(f"--user {word}: no such user", hint="see /etc/passwd, or give numbers: UID:GID")
    uid = entry.pw_uid if entry else int(name)
    if not 0 <= uid < 1 << 32:
        raise InvalidRequest(f"--user {word}: {uid} is not an id")
    gid = _group(group, word, grp) if group else entry.pw_gid if entry else 0
    groups = [] if group or not entry else [g.gr_gid for g in grp.getgrall() if entry.pw_name in g.gr_mem]
    return Identity(uid, gid, groups, entry.pw_dir if entry else "/")


def _group(name: str, word: str, grp: object) -> int:
    if name.isdecimal() and int(name) < 1 << 32:
        return int(name)
    try:
        return int(grp.getgrnam(name).gr_gid)  # type: ignore[attr-defined]
    except KeyError:
        raise InvalidRequest(f"--user {word}: no such group", hint="see /etc/group, or give a number") from None

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


_MOST = 1 << 20


def in_layers(word: str, lower: list[str]) -> Identity:
    """The same against an image's own files, in its layers, uppermost first."""
    name, _, group = word.partition(":")
    passwd = _table(lower, "/etc/passwd")
    entry = next(
        (row for row in passwd if len(row) >= 6 and (row[0] == (name or "root") or row[2] == (name or "0"))), None
    )
    if entry is None and not (name or "0").isdecimal():
        raise InvalidRequest(f"--user {word}: the image has no such user", hint="give numbers: UID:GID")
    try:
        uid = int(entry[2]) if entry else int(name or "0")
        gid = int(entry[3]) if entry else 0
    except ValueError:
        raise InvalidRequest(f"--user {word}: the image's /etc/passwd is malformed for it") from None
    groups = _table(lower, "/etc/group") if group or entry else []
    if group:
        gid = _group_in(groups, group, word)
    more = [
        int(row[2])
        for row in groups
        if entry and not group and len(row) >= 4 and entry[0] in row[3].split(",") and row[2].isdecimal()
    ]
    if not 0 <= uid < 1 << 32 or not 0 <= gid < 1 << 32:
        raise InvalidRequest(f"--user {word}: {uid}:{gid} are not ids")
    return Identity(uid, gid, more, (entry[5] if entry else "") or "/")


def _group_in(groups: list[list[str]], name: str, word: str) -> int:
    found = next((row for row in groups if len(row) >= 3 and name in (row[0], row[2])), None)
    if found and found[2].isdecimal():
        return int(found[2])
    if name.isdecimal() and int(name) < 1 << 32:
        return int(name)
    raise InvalidRequest(f"--user {word}: the image has no such group", hint="give a number")


def _table(lower: list[str], path: str) -> list[list[str]]:
    """Lines of a file of the image, cut at colons; a file that a layer hides, or that is no file, has none."""
    import os
    import stat

    from boxship.errors import KernelError
    from boxship.kernel.openat2 import open_in_root

    for layer in lower:
        try:
            fd = open_in_root(layer, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except KernelError:  # not in this layer
            continue
        with open(fd, encoding="utf-8", errors="surrogateescape") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return []
            return [line.split(":") for line in file.read(_MOST).splitlines()]
    return []


def _group(name: str, word: str, grp: object) -> int:
    if name.isdecimal() and int(name) < 1 << 32:
        return int(name)
    try:
        return int(grp.getgrnam(name).gr_gid)  # type: ignore[attr-defined]
    except KeyError:
        raise InvalidRequest(f"--user {word}: no such group", hint="see /etc/group, or give a number") from None

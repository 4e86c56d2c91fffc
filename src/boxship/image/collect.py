# SPDX-License-Identifier: Apache-2.0
"""Garbage collection: blobs and trees that no name leads to, and that no container uses.

Anything that has just come may be named in a moment: what is younger than ``GRACE_S`` is left alone.
"""

from __future__ import annotations

import os
import time

from boxship.image.layers import ready, remove_tree
from boxship.kernel import lock as locking
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.image.store import Store

GRACE_S = 3600.0


class Collected(Record):
    """What was taken away, and how many bytes that gave back."""

    blobs: list[str]
    layers: list[str]
    pooled: int = 0
    bytes: int = 0
    #: somebody is bringing images in: nothing was looked at
    busy: bool = False


def collect(store: Store, in_use: set[str], *, grace_s: float = GRACE_S, dry_run: bool = False) -> Collected:
    """Take away what nobody needs; ``in_use`` has the diff_ids of the layers of containers.

    While an image is on its way in, its blobs have no name yet: then nothing is taken, and the next call does it.
    """
    ready(store.root)
    fd = locking.try_exclusive(store.root)
    if fd < 0:
        return Collected([], [], busy=True)
    try:
        return _collect(store, in_use, grace_s, dry_run=dry_run)
    finally:
        os.close(fd)


def _collect(store: Store, in_use: set[str], grace_s: float, *, dry_run: bool) -> Collected:
    blobs, layers = store.reachable()
    old = time.time() - grace_s
    freed = 0
    dead_blobs = [
        digest for digest in store.blobs.all() if digest not in blobs and _older(store.blobs.path(digest), old)
    ]
    dead_layers = [
        diff_id
        for diff_id in _trees(store)
        if diff_id not in layers | in_use and _older(store.layers.path(diff_id), old)
    ]
    if not dry_run:
        for digest in dead_blobs:
            freed += store.blobs.remove(digest)
        for diff_id in dead_layers:
            store.layers.remove(diff_id)
        for path in store.layers.leftovers():
            remove_tree(path)
        freed += _old_parts(store, old)
        pooled, more = _pool(store)
        return Collected(dead_blobs, dead_layers, pooled, freed + more)
    freed = sum(max(0, store.blobs.size(digest)) for digest in dead_blobs)
    return Collected(dead_blobs, dead_layers, 0, freed)


def _trees(store: Store) -> list[str]:
    try:
        return [f"sha256:{entry.name}" for entry in os.scandir(store.layers.root) if len(entry.name) == 64]
    except FileNotFoundError:
        return []


def _older(path: str, than: float) -> bool:
    try:
        return os.lstat(path).st_ctime < than  # a tree's mtime is the image's
    except FileNotFoundError:
        return False


def _old_parts(store: Store, old: float) -> int:
    """Downloads that nobody has gone on with."""
    freed = 0
    try:
        entries = list(os.scandir(store.blobs.ingest))
    except FileNotFoundError:
        return 0
    for entry in entries:
        found = entry.stat(follow_symlinks=False)
        if found.st_mtime < old:
            os.unlink(entry.path)
            freed += found.st_size
    return freed


def _pool(store: Store) -> tuple[int, int]:
    """Files of the pool that no layer has any more: their last link is the pool's own."""
    count = freed = 0
    for directory, _, names in os.walk(store.layers.pool):
        for name in names:
            path = f"{directory}/{name}"
            found = os.lstat(path)
            if found.st_nlink == 1:
                os.unlink(path)
                count, freed = count + 1, freed + found.st_blocks * 512
    return count, freed

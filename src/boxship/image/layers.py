# SPDX-License-Identifier: Apache-2.0
"""Unpacked layers: one directory for each ``diff_id``, whatever images have it and however it was compressed.

    <root>/layers/<hex>/      the tree, as overlayfs takes it for a lower directory
    <root>/layers/@<hex>      a tree that is being made; its maker holds a lock on it
    <root>/pool/              files that several layers share

A tree appears by rename(2) once its digest is the one that the image's configuration names: what was killed on the way is
never used.
"""

from __future__ import annotations

import os
import sys

from boxship import fastjson
from boxship.errors import BoxshipError, KernelError, PermissionDenied
from boxship.image.media import ImageError
from boxship.kernel import lock as locking
from boxship.kernel.openat2 import open_in_root
from boxship.record import Record
from boxship.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

BESIDE = "@"
_BOOT = "import sys; sys.path[:] = sys.argv[1].split(':'); from boxship.image.confine import main; main(sys.argv[2:])"


class Unpacked(Record):
    """A layer that is there: what unpacking it said. Nothing is said of one that was there before."""

    diff_id: str
    path: str
    entries: int = 0
    bytes: int = 0
    shared: int = 0
    saved: int = 0
    skipped: list[str] = []


class Layers:
    """The directory of unpacked layers below a store's root."""

    def __init__(self, root: str) -> None:
        self.root, self.pool = f"{root}/layers", f"{root}/pool"

    def path(self, diff_id: str) -> str:
        """Where the layer's tree is, when it is there."""
        return f"{self.root}/{diff_id.rpartition(':')[2]}"

    def has(self, diff_id: str) -> bool:
        """Whether the layer is unpacked."""
        return os.path.isdir(self.path(diff_id))

    def unpack(self, blob: str, compression: str, diff_id: str = "") -> Unpacked:
        """Unpack the file ``blob``; with a ``diff_id`` it must be that. Done once, however many ask at the same time."""
        if diff_id and self.has(diff_id):
            return Unpacked(diff_id, self.path(diff_id))
        ready(self.root, self.pool)
        with Undo() as held, Undo() as undo:
            beside = f"{self.root}/{BESIDE}{diff_id.rpartition(':')[2] or f'new-{os.getpid()}-{id(undo)}'}"
            if not _begin(beside, held, lambda: bool(diff_id) and self.has(diff_id)):
                return Unpacked(diff_id, self.path(diff_id))
            undo.push(remove_tree, beside)
            found = _confined(blob, compression, beside, self.pool)
            if diff_id and found["diff_id"] != diff_id:
                raise ImageError(
                    f"layer {diff_id}: what was unpacked is {found['diff_id']}",
                    hint="the image is damaged, or made to deceive: pull it from a source that you trust",
                )
            _make_nodes(beside, found["nodes"])
            path = self.path(found["diff_id"])
            if not self.has(found["diff_id"]):
                os.rename(beside, path)
                undo.forget()
        return Unpacked(
            path=path, **{key: found[key] for key in ("diff_id", "entries", "bytes", "shared", "saved", "skipped")}
        )

    def remove(self, diff_id: str) -> None:
        """Remove a layer's tree; first out of sight, so that a kill leaves nothing that looks whole."""
        beside = f"{self.root}/{BESIDE}gone-{diff_id.rpartition(':')[2]}"
        try:
            os.rename(self.path(diff_id), beside)
        except FileNotFoundError:
            return
        remove_tree(beside)

    def leftovers(self) -> list[str]:
        """Trees that a killed process has left half made or half removed."""
        try:
            entries = [entry.path for entry in os.scandir(self.root) if entry.name[0] == BESIDE]
        except FileNotFoundError:
            return []
        return [path for path in entries if not locking.busy(path)]


def ready(*paths: str) -> None:
    """Make the directories of a store, for its owner alone."""
    try:
        for path in paths:
            os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise KernelError.from_os("mkdir", error, hint="name another directory for images with --store") from None


def _begin(beside: str, held: Undo, done: Any) -> bool:
    """An empty directory and its lock; False when somebody else has done it all meanwhile."""
    while not done():
        try:
            os.mkdir(beside, 0o755)
        except FileExistsError:
            pass
        try:
            fd = locking.exclusive(beside)
        except FileNotFoundError:
            continue
        if locking.is_at(fd, beside):
            held.push(os.close, fd)
            for entry in os.scandir(beside):  # of one who was killed
                remove_tree(entry.path)
            return not done()
        os.close(fd)
    return False


def _confined(blob: str, compression: str, directory: str, pool: str) -> dict[str, Any]:
    """Run the unpacking process; what it says of the layer."""
    import subprocess

    if os.geteuid() != 0:
        raise PermissionDenied("unpacking layers needs root for now", hint="run it as root")
    with Undo() as opened:
        fds = []
        for path, flags in (
            (blob, os.O_RDONLY),
            (directory, os.O_RDONLY | os.O_DIRECTORY),
            (pool, os.O_RDONLY | os.O_DIRECTORY),
        ):
            fds.append(os.open(path, flags | os.O_CLOEXEC))
            opened.push(os.close, fds[-1])
        done = subprocess.run(
            [sys.executable, "-IS", "-c", _BOOT, ":".join(sys.path), *map(str, fds), compression],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=fds,
            check=False,
        )
    if done.returncode or not done.stdout:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise BoxshipError(f"unpacking: the process ended with {done.returncode}: {last}")
    found: Any = fastjson.loads(done.stdout)
    if "error" in found:
        if "errno" in found:
            raise BoxshipError(found["error"], hint="is the disk full?" if found["errno"] == 28 else "")
        raise ImageError(found["error"], hint=found["hint"])
    return dict(found)


def _make_nodes(root: str, nodes: Iterable[list[Any]]) -> None:
    """Device nodes that the layer names; a name that something else has taken is left alone."""
    import stat

    for path, mode, major, minor, uid, gid, mtime in nodes:
        parent, _, name = path.rpartition("/")
        fd = open_in_root(root, f"/{parent}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        before = os.fstat(fd)
        try:
            os.mknod(name, mode, os.makedev(major, minor), dir_fd=fd)
            os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
            os.chmod(name, stat.S_IMODE(mode), dir_fd=fd)
            os.utime(name, ns=(mtime, mtime), dir_fd=fd, follow_symlinks=False)
        except FileExistsError:
            continue
        finally:
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
            os.close(fd)


def remove_tree(path: str) -> None:
    """Remove a tree, whatever is in it; links are not followed."""
    import shutil

    if os.path.islink(path) or not os.path.isdir(path):
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        return
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return

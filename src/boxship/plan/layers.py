# SPDX-License-Identifier: Apache-2.0
"""A root made of layers: overlays of host directories, gathered where only the container's mount namespace sees them.

Layers and writable directories lie on a tmpfs and are named relative to it: paths stay short (fsconfig(2) takes 255
bytes) and nobody else can reach them. See overlayfs in the kernel's documentation.
"""

from __future__ import annotations

from boxship.plan import steps as s
from boxship.plan import words as w

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.plan.draft import Draft
    from boxship.plan.facts import Overlay


def tree(d: Draft, path: str, *, recursive: bool, shared: bool = False) -> int:
    """A detached copy of a host mount in a slot, opened by the side that can reach it, or by both when it is ``shared``."""
    slot = d.slot()
    step = s.OpenTree(slot, path, int(recursive))
    if d.facts.privileged and (shared or d.namespaces.has(w.CLONE_NEWUSER)):
        d.early(step)
    else:
        d.child(step)
    return slot


def root(d: Draft, layers: Overlay) -> None:
    """The container's root, and what else of the host's disks belongs below it: each an overlay of its own."""
    stage = d.slot()
    size = [f"size={layers.tmpfs}"] if layers.tmpfs else []
    d.child(s.FsMount(stage, "tmpfs", ["source=boxship", "mode=0755", *size], 0))
    d.child(s.Root(stage, "/"))
    kept = ""
    if layers.upper:
        _gather(d, layers.upper, "kept")
        kept = "kept/"
    top = _overlay(d, layers.lower, "", kept)
    below = [(path, _overlay(d, [path], path.strip("/").replace("/", "-"), kept)) for path in layers.mounts]
    d.child(s.SetAttr(top, 0, 0, w.MS_PRIVATE, 0))
    d.child(s.Root(top, "/"))
    for path, slot in below:
        d.child(s.Attach(slot, path, 0))


def _gather(d: Draft, path: str, name: str) -> None:
    """A host directory on the stage; idmapped where the container has a user namespace of its own."""
    slot = tree(d, path, recursive=False)
    if d.namespaces.has(w.CLONE_NEWUSER):
        d.late(s.Idmap(slot, s.NONE, 0))
    d.child(s.Attach(slot, f"/{name}", 0))


def _overlay(d: Draft, lower: list[str], suffix: str, kept: str) -> int:
    """One overlay in a slot: ``lower`` below, a writable directory on the stage, or in the kept one, on top."""
    names = [f"{number}{suffix}" for number in range(len(lower))]
    for name, path in zip(names, lower):
        _gather(d, path, name)
    end = f"-{suffix}" if suffix else ""
    upper, work = f"{kept}upper{end}", f"{kept}work{end}"
    d.child(s.MkDir(f"/{upper}", 0o755))
    d.child(s.MkDir(f"/{work}", 0o755))
    d.child(s.ChDir("/"))
    several = d.facts.kernel >= (6, 8)
    options = [f"lowerdir+={name}" for name in names] if several else [f"lowerdir={':'.join(names)}"]
    slot = d.slot()
    # Marks in user.*, in a user namespace or not: layers are unpacked once for both.
    marks = [f"upperdir={upper}", f"workdir={work}", "userxattr"]
    d.child(s.FsMount(slot, "overlay", ["source=boxship", *options, *marks], 0))
    return slot

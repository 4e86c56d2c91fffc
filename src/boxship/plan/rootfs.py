# SPDX-License-Identifier: Apache-2.0
"""The steps that make the container's file system: root, mounts, devices, masks, pivot.

Every mount is made detached and then attached by descriptor to a target resolved inside the root. Where
the container has a user namespace of its own and the caller is privileged, bind sources are opened by the
monitor: the child may not be able to reach them any more.
"""

from __future__ import annotations

from boxship.plan import layers
from boxship.plan import steps as s
from boxship.plan import words as w
from boxship.plan.cgroupfs import mount_cgroup
from boxship.plan.draft import Draft
from boxship.plan.layers import tree
from boxship.plan.mounts import Options, may_cover, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.spec.oci import Mount

S_IFCHR, S_IFBLK, S_IFIFO = 0o020000, 0o060000, 0o010000

#: path, major, minor of the devices that every container has; runtime-spec, 'Default Devices'
DEFAULT_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
)
_TYPES = {"c": S_IFCHR, "u": S_IFCHR, "b": S_IFBLK, "p": S_IFIFO}
_ROOT_PROPAGATION = {
    "": w.MS_SLAVE | w.MS_REC,
    "rslave": w.MS_SLAVE | w.MS_REC,
    "slave": w.MS_SLAVE,
    "rprivate": w.MS_PRIVATE | w.MS_REC,
    "private": w.MS_PRIVATE,
    "rshared": w.MS_SHARED | w.MS_REC,
    "shared": w.MS_SHARED,
    "runbindable": w.MS_UNBINDABLE | w.MS_REC,
    "unbindable": w.MS_UNBINDABLE,
}


def root(d: Draft) -> None:
    """Cut the mounts off from the host's and put the root in place."""
    wanted = d.spec.linux.rootfs_propagation or ""
    flags = _ROOT_PROPAGATION[wanted]
    # pivot_root(2) refuses shared mounts: they become shared again once the root has been changed.
    first = w.MS_SLAVE | w.MS_REC if flags & (w.MS_SHARED | w.MS_UNBINDABLE) else flags
    d.call("mount", 0, 0, 0, first, at=1, data=b"/")
    d.child(s.Open(s.DEV_NULL, "/dev/null", w.O_PATH))
    if d.launch.overlay:
        layers.root(d, d.launch.overlay)
        return
    slot = tree(d, path(d), recursive=True)
    d.child(s.SetAttr(slot, 0, 0, w.MS_PRIVATE, 0))
    d.child(s.Root(slot, path(d)))


def path(d: Draft) -> str:
    """The root on the host; without one in the specification, the host's own."""
    name = d.spec.root.path if d.spec.root else "/"
    return name if name.startswith("/") else f"{d.launch.bundle}/{name}"


def mounts(d: Draft) -> None:
    """All mounts of the specification, in its order."""
    for index, mount in enumerate(d.spec.mounts):
        options = parse(mount.options, f"$.mounts[{index}].options")
        target = clean(mount.destination)
        if mount.type in ("cgroup", "cgroup2") and not options.bind:
            mount_cgroup(d, target, options)
        elif options.remount:
            _remount(d, target, options)
        elif options.bind or mount.type == "bind":
            _bind(d, index, mount, target, options)
        else:
            _new(d, mount, target, options)


def clean(path: str) -> str:
    """An absolute path without ``.``, ``..`` and double slashes; ``..`` at the root stays there."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _attach(d: Draft, slot: int, target: str, *, nofollow: bool = False) -> None:
    flags = (s.ATTACH_NOFOLLOW if nofollow else 0) | (s.ATTACH_PROC if may_cover(target) else 0)
    d.child(s.Attach(slot, target, flags))


def _propagate(d: Draft, slot: int, options: Options, default: int) -> None:
    kind = options.propagation or default
    if kind:
        d.child(s.SetAttr(slot, 0, 0, kind, int(options.recursive_propagation or not options.propagation)))


def _remount(d: Draft, target: str, options: Options) -> None:
    slot = d.slot()
    d.child(s.OpenIn(slot, target, w.O_PATH))
    d.child(s.SetAttr(slot, options.set, options.clear, 0, 0))
    d.child(s.Close(slot))


def _bind(d: Draft, index: int, mount: Mount, target: str, options: Options) -> None:
    source = mount.source if mount.source.startswith("/") else f"{d.launch.bundle}/{mount.source}"
    idmapped = bool(options.idmap or options.recursive_idmap or mount.uid_mappings)
    slot = tree(d, source, recursive=options.recursive_bind, shared=idmapped)
    if idmapped:
        userns = d.launch.userns_slots.get(index, s.NONE)
        d.late(s.Idmap(slot, userns, int(options.recursive_idmap)))
    if options.set:
        # What is cleared (rw, suid …) is what a clone of an ordinary mount has already; a lock stays a lock.
        d.child(s.SetAttr(slot, options.set, w.ATTR_ATIME_MASK if options.clear & w.ATTR_ATIME_MASK else 0, 0, 0))
    if options.recursive_set or options.recursive_clear:
        d.child(s.SetAttr(slot, options.recursive_set, options.recursive_clear, 0, 1))
    # A tree that the monitor cloned is still the host's peer: without a word it becomes a slave, as / has.
    _propagate(d, slot, options, w.MS_SLAVE if d.namespaces.has(w.CLONE_NEWUSER) else 0)
    _attach(d, slot, target)


def _new(d: Draft, mount: Mount, target: str, options: Options) -> None:
    kernel_fs = mount.type in ("proc", "sysfs")
    data = list(options.data)
    if mount.source:
        data.insert(0, f"source={mount.source}")
    if d.spec.linux.mount_label and mount.type == "tmpfs":
        data.append(f"context={d.spec.linux.mount_label}")
    slot = d.slot()
    d.child(s.FsMount(slot, mount.type, data, options.set))
    if options.copy_up:
        d.child(s.CopyUp(slot, target))
    _propagate(d, slot, options, 0)
    # A symlink on the way to /proc or /sys would move them elsewhere: CVE-2019-19921.
    _attach(d, slot, target, nofollow=kernel_fs)


def devices(d: Draft) -> None:
    """Default and wished-for device nodes, and the links that /dev has; none when /dev is the host's."""
    if any(
        clean(m.destination) == "/dev" and (m.type == "bind" or "bind" in m.options or "rbind" in m.options)
        for m in d.spec.mounts
    ):
        return
    wished = {clean(device.path) for device in d.spec.linux.devices}
    for path, major, minor in DEFAULT_DEVICES:
        if path not in wished:
            d.child(s.MkNod(path, S_IFCHR | 0o666, major, minor, 0, 0))
    for device in d.spec.linux.devices:
        mode = _TYPES[device.type] | (0o666 if device.file_mode is None else device.file_mode & 0o7777)
        d.child(
            s.MkNod(clean(device.path), mode, device.major or 0, device.minor or 0, device.uid or 0, device.gid or 0)
        )
    for target, path in _LINKS:
        d.child(s.SymLink(target, path))


def pivot(d: Draft) -> None:
    """Make the root the process's own, and read-only when it is asked to be."""
    how = d.launch.pivot if d.namespaces.made(w.CLONE_NEWNS) else s.PIVOT_CHROOT
    # A joined mount namespace has its own users: their root is left alone, this process changes only its own.
    how = s.PIVOT_MOVE if d.namespaces.has(w.CLONE_NEWNS) and how == s.PIVOT_CHROOT else how
    d.child(s.Pivot(how))
    flags = _ROOT_PROPAGATION[d.spec.linux.rootfs_propagation or ""]
    if flags & (w.MS_SHARED | w.MS_UNBINDABLE):
        d.call("mount", 0, 0, 0, flags, at=1, data=b"/")
    if d.spec.root and d.spec.root.readonly:
        d.child(s.SetAttr(s.ROOT, w.ATTR_RDONLY, 0, 0, 0))


def hide(d: Draft) -> None:
    """Read-only paths first, then masks: a mask below a read-only tree stays."""
    for path in d.spec.linux.readonly_paths:
        d.child(s.ReadOnly(clean(path)))
    for path in d.spec.linux.masked_paths:
        d.child(s.Mask(clean(path)))

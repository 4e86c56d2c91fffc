# SPDX-License-Identifier: Apache-2.0
"""Steps on mounts and on paths below the container's root; see ``steps.py``."""

from __future__ import annotations

from boxship.plan.step import NONE, Step
from boxship.plan.words import call_text, mount_attr_text


class OpenTree(Step):
    """open_tree(2) OPEN_TREE_CLONE: a detached copy of the mount at a host path."""

    code = 14
    slot: int
    path: str
    recursive: int

    def describe(self) -> str:
        more = ", AT_RECURSIVE" if self.recursive else ""
        return f"open_tree({self.path}, OPEN_TREE_CLONE{more}) → slot {self.slot}"


class FsMount(Step):
    """fsopen(2), fsconfig(2) for each option, fsmount(2): a detached mount of a file system."""

    code = 15
    slot: int
    fstype: str
    options: list[str]
    attrs: int

    def describe(self) -> str:
        inside = f" [{','.join(self.options)}]" if self.options else ""
        return f"fsmount({self.fstype}{inside}, {mount_attr_text(self.attrs)}) → slot {self.slot}"


class SetAttr(Step):
    """mount_setattr(2) on the mount in ``slot``."""

    code = 16
    slot: int
    set: int
    clear: int
    propagation: int
    recursive: int

    def describe(self) -> str:
        words = [f"+{mount_attr_text(self.set)}"] if self.set else []
        words += [f"-{mount_attr_text(self.clear)}"] if self.clear else []
        words += [call_text("propagation", self.propagation)] if self.propagation else []
        words += ["AT_RECURSIVE"] if self.recursive else []
        return f"mount_setattr(slot {self.slot}, {' '.join(words)})"


class Idmap(Step):
    """mount_setattr(2) MOUNT_ATTR_IDMAP with the user namespace in ``userns`` (NONE: the child's)."""

    code = 17
    slot: int
    userns: int
    recursive: int

    def describe(self) -> str:
        whose = "the child's user namespace" if self.userns == NONE else f"slot {self.userns}"
        return f"mount_setattr(slot {self.slot}, MOUNT_ATTR_IDMAP, {whose})"


class Root(Step):
    """Attach the detached mount in ``slot`` and make it the root that later paths start from.

    It goes to ``target``, where hooks look for it; on top of / when the child may not reach that path.
    """

    code = 18
    slot: int
    target: str

    def describe(self) -> str:
        return f"move_mount(slot {self.slot} → {self.target}): the container's root"


class Attach(Step):
    """move_mount(2) of ``slot`` onto ``target``, resolved in the root and made when it is missing; then the slot is closed.

    ``flags``: ATTACH_NOFOLLOW refuses symlinks on the way, ATTACH_PROC allows a target inside procfs.
    """

    code = 19
    slot: int
    target: str
    flags: int

    def describe(self) -> str:
        return f"move_mount(slot {self.slot} → {self.target})"


class CopyUp(Step):
    """Copy what ``target`` holds in the root into the detached mount in ``slot`` (tmpcopyup)."""

    code = 20
    slot: int
    target: str

    def describe(self) -> str:
        return f"copy {self.target} into slot {self.slot}"


class Mask(Step):
    """Hide ``target``: /dev/null over a file, an empty read-only tmpfs over a directory."""

    code = 21
    target: str

    def describe(self) -> str:
        return f"mask {self.target}"


class ReadOnly(Step):
    """Make ``target`` and what is mounted below it read-only, when it exists."""

    code = 22
    target: str

    def describe(self) -> str:
        return f"make {self.target} read-only"


class MkDir(Step):
    """mkdirat(2) in the root with its missing parents; an existing directory is left alone."""

    code = 23
    path: str
    mode: int

    def describe(self) -> str:
        return f"mkdir({self.path}, {self.mode:#o})"


class MkNod(Step):
    """mknodat(2) and fchownat(2) in the root; where the kernel refuses, the host's device is bound instead."""

    code = 24
    path: str
    mode: int
    major: int
    minor: int
    uid: int
    gid: int

    def describe(self) -> str:
        return f"mknod({self.path}, {self.mode:#o}, {self.major}:{self.minor})"


class SymLink(Step):
    """symlinkat(2) in the root; an existing name is left alone."""

    code = 25
    target: str
    path: str

    def describe(self) -> str:
        return f"symlink({self.target} ← {self.path})"


class Pivot(Step):
    """Make the root the process's root: 0 pivot_root(2), 1 MS_MOVE and chroot(2), 2 chroot(2) alone."""

    code = 26
    how: int

    def describe(self) -> str:
        return ("pivot_root(., .)", "move_mount(root → /), chroot(.)", "chroot(root)")[self.how]


class ChDir(Step):
    """fchdir(2) to ``path`` below the root; no magic link leads out (CVE-2024-21626)."""

    code = 39
    path: str

    def describe(self) -> str:
        return f"chdir({self.path})"

# SPDX-License-Identifier: Apache-2.0
"""A root file system of one program: the host's static busybox, a link for each applet, and a few files of /etc."""

from __future__ import annotations

import os

from boxship.errors import Unsupported
from boxship.image.template.work import TemplateError, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from typing import IO

#: where distributions put it
PLACES = ("/usr/bin/busybox", "/bin/busybox", "/usr/bin/busybox.static", "/bin/busybox.static", "/usr/sbin/busybox")
_HINT = "install busybox-static (Debian, Ubuntu, Alpine) or busybox (Fedora, Arch)"
_DIRECTORIES = {
    "bin": 0o755,
    "dev": 0o755,
    "etc": 0o755,
    "home": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "run": 0o755,
    "sbin": 0o755,
    "sys": 0o755,
    "tmp": 0o1777,
    "usr": 0o755,
    "usr/bin": 0o755,
    "usr/sbin": 0o755,
    "var": 0o755,
    "var/log": 0o755,
    "var/tmp": 0o1777,
}
_FILES = {
    "etc/passwd": (0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    "etc/group": (0o644, "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    "etc/shadow": (0o640, "root:*:1::::::\nnobody:*:1::::::\n"),
    "etc/nsswitch.conf": (0o644, "passwd: files\ngroup: files\nhosts: files dns\n"),
    "etc/os-release": (0o644, 'NAME="busybox"\nID=busybox\nPRETTY_NAME="busybox"\n'),
}
_PT_INTERP = 3


def program() -> str:
    """The path of a static busybox; Unsupported says what to install."""
    there = [path for path in PLACES if os.path.isfile(path)]
    for path in there:
        if is_static(path):
            return path
    if there:
        raise Unsupported(f"{there[0]}: needs a loader and libraries, which a container would not have", hint=_HINT)
    raise Unsupported("there is no busybox on this machine", hint=_HINT)


def is_static(path: str) -> bool:
    """Whether a file is an ELF program that asks for no interpreter."""
    import struct

    with open(path, "rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:4] != b"\x7fELF":
            return False
        order, wide = "<" if head[5] == 1 else ">", head[4] == 2
        (offset,) = struct.unpack_from(f"{order}Q", head, 32) if wide else struct.unpack_from(f"{order}I", head, 28)
        size, count = struct.unpack_from(f"{order}HH", head, 54 if wide else 42)
        file.seek(offset)
        table = file.read(size * count)
    kinds = [struct.unpack_from(f"{order}I", table, n)[0] for n in range(0, len(table) - 3, size or 1)]
    return _PT_INTERP not in kinds


def applets(path: str, env: dict[str, str]) -> list[str]:
    """The paths, without leading slash, under which this busybox wants to be called."""
    said: list[str] = []
    run([path, "--list-full"], env, what="busybox", log=said.append)
    names = sorted({line.strip() for line in said if not line.startswith("/") and ".." not in line.split("/")})
    if "bin/sh" not in names:
        raise TemplateError(f"{path}: has no shell among its {len(names)} applets", hint=_HINT)
    return names


def build(file: IO[bytes], path: str, names: list[str], epoch: int) -> None:
    """Write the tar file: the same bytes for the same busybox, applets and moment (seconds since 1970)."""
    import io
    import tarfile

    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(_entry(".", tarfile.DIRTYPE, 0o755, epoch))
        parents = {os.path.dirname(name) for name in names} - {""}
        for name in sorted({*_DIRECTORIES, *parents}):
            tar.addfile(_entry(name, tarfile.DIRTYPE, _DIRECTORIES.get(name, 0o755), epoch))
        for name, (mode, text) in _FILES.items():
            entry = _entry(name, tarfile.REGTYPE, mode, epoch)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
        with open(path, "rb") as source:
            entry = _entry("bin/busybox", tarfile.REGTYPE, 0o755, epoch)
            entry.size = os.fstat(source.fileno()).st_size
            tar.addfile(entry, source)
        for name in names:
            if name != "bin/busybox":
                entry = _entry(name, tarfile.SYMTYPE, 0o777, epoch)
                entry.linkname = "/bin/busybox"
                tar.addfile(entry)


def _entry(name: str, kind: bytes, mode: int, epoch: int) -> tarfile.TarInfo:
    import tarfile

    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, epoch
    return entry

# SPDX-License-Identifier: Apache-2.0
"""From recipe to tar file. The file appears by rename(2), complete or not at all.

Everything on the way is in a work directory beside the destination, and for mmdebstrap in one below $TMPDIR or
/var/tmp (see `work`): what a kill leaves, the next call removes. Debian's family is made by mmdebstrap(1), which
needs no privileges where subordinate ids are set up, or else by debootstrap(8) as root. The host's configuration
is read, never written.
"""

from __future__ import annotations

import os

from boxship.errors import InvalidRequest, KernelError, Unsupported
from boxship.image.template import busybox, command, fetch, hostapt
from boxship.image.template.parse import TOOLS
from boxship.image.template.recipe import host_architecture, resolve
from boxship.image.template.work import TemplateError, Work, run, sweep
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from boxship.image.template.recipe import Recipe

_DAY = 86400
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY")
#: databases of installed packages → the first letters of the lines that have name and version
_DATABASES = {
    "var/lib/dpkg/status": ("Package: ", "Version: "),
    "lib/apk/db/installed": ("P:", "V:"),
    "usr/lib/apk/db/installed": ("P:", "V:"),
}


class Made(Record):
    """A tar file; ``packages`` are ``name=version`` of dpkg or apk, where it has them."""

    path: str
    sha256: str
    packages: list[str] = []


class _Job(Record):
    """What the makers share: the resolved recipe, where to work, where the tar file goes."""

    recipe: Recipe
    release: str
    #: descriptor of the tar file
    out: int
    work: Work
    epoch: int
    log: Callable[[str], None]

    def child(
        self,
        argv: list[str],
        temporary: str,
        stdout: int | None = None,
        hint: str = "",
        more: dict[str, str] | None = None,
        *locks: int,
    ) -> None:
        """Run a command that dies with us; ``more`` is added to its environment, ``locks`` are held while it lives."""
        env = command.environment(temporary, self.epoch, _proxies()) | (more or {})
        whole = command.alone(argv, root=_is_root())
        what = f"template {self.recipe.name}"
        run(whole, env, what=what, log=self.log, stdout=stdout, keep=(self.work.fd, *locks), hint=hint)


def make(
    recipe: Recipe,
    release: str,
    destination_tar: str,
    *,
    architecture: str = "",
    log: Callable[[str], None] | None = None,
) -> Made:
    """Make a template as one plain tar file. ``architecture`` is OCI's name, empty for this machine's.

    TemplateError has the end of what a command said; Unsupported says what to install.
    """
    chosen = resolve(recipe, release, architecture)
    say = log or _silent
    directory = os.path.dirname(os.path.abspath(destination_tar))
    if os.path.isdir(_scratch()):
        sweep(_scratch())
    with Work(directory) as work:
        path = os.path.join(work.path, "root.tar")
        out = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            _MAKERS[chosen.kind](_Job(chosen, release, out, work, _epoch(), say))
            os.fsync(out)
        finally:
            os.close(out)
        digest = _sha256(path)
        found = packages(path, f"template {recipe.name}")
        try:
            os.rename(path, destination_tar)
        except OSError as error:
            raise KernelError.from_os("rename", error, path=destination_tar) from None
    _sync(directory)
    return Made(destination_tar, digest, found)


def _silent(_line: str) -> None:
    """Where nobody listens; an error has the last lines all the same."""


def _scratch() -> str:
    """Where root file systems are unpacked that others than us must be able to enter."""
    return os.environ.get("TMPDIR") or "/var/tmp"


def _is_root() -> bool:
    return os.geteuid() == 0


def _proxies() -> dict[str, str]:
    return {name: os.environ[name] for name in _PROXIES if os.environ.get(name)}


def _epoch() -> int:
    """$SOURCE_DATE_EPOCH, else the beginning of today (UTC): what is made twice on a day is the same."""
    import time

    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        return int(time.time()) // _DAY * _DAY
    if not given.isascii() or not given.isdecimal() or len(given) > 11:
        raise InvalidRequest(f"SOURCE_DATE_EPOCH={given!r}: not seconds since 1970", hint="unset it, or write digits")
    return int(given)


def _debootstrap(job: _Job) -> None:
    """Kind debootstrap: with what is installed."""
    from shutil import which

    recipe = job.recipe
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    if recipe.keyring and not os.path.exists(recipe.keyring):
        fix = f"install {recipe.keyring_package}" if recipe.keyring_package else "install the package it comes in"
        raise Unsupported(
            f"template {recipe.name}: {recipe.keyring} is not there, so what is downloaded could not be verified",
            hint=f"{fix}, or set keyring in /etc/boxship/templates/{recipe.name}.toml",
        )
    tools = [recipe.tool] if recipe.tool else list(TOOLS)
    tool = next((tool for tool in tools if which(tool, path=path)), "")
    if not tool:
        raise Unsupported(f"template {recipe.name}: {' and '.join(tools)}: not found", hint=f"install {tools[0]}")
    if tool == "mmdebstrap":
        _with_mmdebstrap(job)
    elif not _is_root():
        raise Unsupported(
            f"template {recipe.name}: debootstrap works for root only",
            hint="install mmdebstrap and uidmap, or use sudo",
        )
    else:
        _with_debootstrap(job)


def _lines(job: _Job, host: hostapt.HostApt) -> list[str]:
    recipe = job.recipe
    releases = list(dict.fromkeys(recipe.versions.values()))
    return hostapt.source_lines(recipe.sources, recipe.mirror, recipe.origin, job.release, releases, host.archives)


def _with_mmdebstrap(job: _Job) -> None:
    import tarfile

    host = hostapt.read()
    settings = hostapt.needed(host.settings, own_mirror=bool(job.recipe.mirror), log=job.log)
    # apt's own user, and those of a user namespace, must be able to go there: not below a private directory.
    with Work(_scratch(), 0o711) as scratch:
        # It is told to leave /dev out, and so leaves out the directory as well.
        entry = tarfile.TarInfo("./dev")
        entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, job.epoch
        os.write(job.out, entry.tobuf(tarfile.GNU_FORMAT))
        argv = command.mmdebstrap(job.recipe, job.release, _lines(job, host), root=_is_root(), settings=bool(settings))
        job.log(f"template {job.recipe.name}: {job.release} by mmdebstrap")
        hint = "" if _is_root() else "it needs newuidmap (package uidmap) and /etc/subuid"
        more = {command.APT_CONF: "\n".join(settings)} if settings else {}
        job.child(argv, scratch.path, job.out, hint, more, scratch.fd)


def _with_debootstrap(job: _Job) -> None:
    host = hostapt.read()
    root, temporary = (os.path.join(job.work.path, name) for name in ("root", "tmp"))
    os.mkdir(temporary)
    lines = _lines(job, host)
    job.log(f"template {job.recipe.name}: {job.release} by debootstrap, without updates: mmdebstrap includes them")
    argv = command.debootstrap(job.recipe, job.release, lines, root)
    own = {f"{scheme}_proxy": address for scheme, address in host.proxies.items()}
    job.child(argv, temporary, more=own | _proxies())
    with open(os.path.join(root, "etc/apt/sources.list"), "w") as file:
        file.write("\n".join([*lines, ""]))
    _finish(job, root, temporary, [command.clean_up_debootstrap()])


def _finish(job: _Job, root: str, temporary: str, first: list[str]) -> None:
    """Run what comes after a directory is there, and pack it."""
    for one in [*first, *(command.hook(post) for post in job.recipe.post)]:
        job.child(["sh", "-c", one, "post", root], temporary)
    job.child(command.tar(root, job.epoch, own=_is_root()), temporary, job.out)


def _script(job: _Job) -> None:
    """Kind script: a shell script fills the directory that it is given as ``$1``, with release and architecture."""
    root, temporary = (os.path.join(job.work.path, name) for name in ("root", "tmp"))
    os.mkdir(root, 0o755)
    os.mkdir(temporary)
    (arch,) = job.recipe.architectures.values()
    job.child(["sh", "-c", command.hook(job.recipe.script), "script", root, job.release, arch], temporary)
    _finish(job, root, temporary, [])


def _tarball(job: _Job) -> None:
    """Kind tarball: verified before it is looked into."""
    recipe = job.recipe
    source = fetch.locate(recipe.url, recipe.sha256, recipe.index, recipe.flavor)
    if source.path:
        path = fetch.local(source)
    else:
        path = os.path.join(job.work.path, "download")
        job.log(f"template {recipe.name}: downloading {source.url}")
        fetch.download(source.url, path, log=job.log)
    fetch.checked(path, source.sha256, source.url)
    fetch.plain(path, job.out, name=source.url, env=command.environment(job.work.path, job.epoch, {}))


def _busybox(job: _Job) -> None:
    """Kind busybox: this machine's own."""
    if host_architecture() not in job.recipe.architectures:
        raise Unsupported(f"template {job.recipe.name}: only for {host_architecture()}, the busybox of this machine")
    path = busybox.program()
    names = busybox.applets(path, command.environment(job.work.path, job.epoch, {}))
    with os.fdopen(job.out, "wb", closefd=False) as file:
        busybox.build(file, path, names, job.epoch)


_MAKERS: dict[str, Callable[[_Job], None]] = {
    "debootstrap": _debootstrap,
    "tarball": _tarball,
    "script": _script,
    "busybox": _busybox,
}


def _sha256(path: str) -> str:
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def packages(path: str, what: str) -> list[str]:
    """``name=version`` of a tar file's packages, sorted. Reads it to its end: TemplateError for what is no tar file."""
    import tarfile

    found: list[str] = []
    count = 0
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                count += 1
                keys = _DATABASES.get(member.name.removeprefix("./"))
                if keys and member.isreg():
                    data = tar.extractfile(member)
                    found += _named(data.read().decode(errors="replace") if data else "", *keys)
    except tarfile.TarError as error:
        raise TemplateError(f"{what}: not a tar file, or not a whole one: {error}") from None
    if not count:
        raise TemplateError(f"{what}: an empty tar file", hint="a root file system is expected")
    return sorted(found)


def _named(text: str, name: str, version: str) -> list[str]:
    found = []
    package = ""
    for line in text.split("\n"):
        if line.startswith(name):
            package = line.removeprefix(name)
        elif line.startswith(version) and package:
            found.append(f"{package}={line.removeprefix(version)}")
            package = ""
    return found


def _sync(directory: str) -> None:
    """The name survives a power failure too."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

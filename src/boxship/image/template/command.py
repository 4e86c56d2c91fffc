# SPDX-License-Identifier: Apache-2.0
"""The command lines that templates are made with: pure functions, tested as golden lists.

mmdebstrap(1), debootstrap(8), tar(1), setpriv(1), unshare(1).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.image.template.recipe import Recipe

#: variant → mmdebstrap's name of the same set of packages; debootstrap calls "standard" by leaving it out
_MMDEBSTRAP_VARIANTS = {"minbase": "minbase", "standard": "important", "buildd": "buildd"}
#: what a chroot takes over from the host, and what apt was told for this run only
_HOSTS_OWN = ("etc/hostname", "etc/resolv.conf", "etc/apt/apt.conf.d/99boxship", "usr/sbin/policy-rc.d")
#: no service starts while packages are installed; mmdebstrap's own file is removed after the last hook, with ours
_NO_SERVICES = 'printf "#!/bin/sh\\nexit 101\\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"'
#: the variable with the host's settings of apt, and the hook that writes them where apt looks. They may have a
#: password of a proxy: an argument or a file would show it to others, and --aptopt would leave it in the template.
APT_CONF = "BOXSHIP_APT_CONF"
_SETTINGS = f'umask 077; printf "%s\\n" "${APT_CONF}" >"$1/etc/apt/apt.conf.d/99boxship"'
#: removed from what debootstrap leaves; mmdebstrap does the same by itself
_LEFT = (
    "var/cache/apt/archives/*.deb",
    "var/cache/apt/*.bin",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/lists/*_*",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
    "var/log/alternatives.log",
    "var/log/apt/*",
    "var/lib/dbus/machine-id",
    "tmp/*",
    "run/*",
)


def alone(argv: list[str], *, root: bool) -> list[str]:
    """A command that dies with this process, and as root takes its own children and mounts along.

    Without PID namespace a killed ``box`` would leave them working in a directory that the next call removes;
    without mount namespace debootstrap's /proc and /sys would stay mounted. mmdebstrap of an ordinary user needs the
    host's user namespace to make its own: it is asked to end, and then removes by itself what it has made.
    """
    dying = ["setpriv", "--pdeathsig", "KILL" if root else "TERM", "--"]
    if not root:
        return [*dying, *argv]
    return [*dying, "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--", *argv]


def environment(temporary: str, epoch: int, proxies: dict[str, str]) -> dict[str, str]:
    """All that a child sees of ours."""
    words = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": "/",
        "DEBIAN_FRONTEND": "noninteractive",
        "TMPDIR": temporary,
        "SOURCE_DATE_EPOCH": str(epoch),
    }
    return words | {key: value for key, value in proxies.items() if value}


def hook(command: str) -> str:
    """A ``post`` command for ``sh -c``, with the root file system as ``$1``; its first failure ends it.

    The prefix also keeps mmdebstrap from taking it for one of its own hook words, ``copy-in`` and the like.
    """
    return f"set -eu; {command}"


def clean_up() -> str:
    """The first hook: what is the host's own goes away."""
    return hook("rm -f " + " ".join(f'"$1/{name}"' for name in _HOSTS_OWN))


def clean_up_debootstrap() -> str:
    """The same after debootstrap, which also leaves packages, lists and logs behind."""
    rest = " ".join(f'"$1"/{name}' for name in _LEFT)
    return f'{clean_up()}; rm -rf {rest}; if [ -e "$1/etc/machine-id" ]; then : >"$1/etc/machine-id"; fi'


def mmdebstrap(recipe: Recipe, release: str, lines: list[str], *, root: bool, settings: bool) -> list[str]:
    """A tar file on standard output, of a resolved recipe and the lines of its sources.list.

    /dev is left out: containers have their own, and device nodes cannot be unpacked without privileges.
    """
    (architecture,) = recipe.architectures.values()
    argv = [
        "mmdebstrap",
        "--mode=root" if root else "--mode=unshare",
        f"--variant={_MMDEBSTRAP_VARIANTS[recipe.variant]}",
        "--format=tar",
        f"--architectures={architecture}",
        f"--components={','.join(recipe.components)}",
        "--skip=output/dev",
        "--skip=chroot/policy-rc.d",
        f"--extract-hook={hook(_NO_SERVICES)}",
    ]
    argv += [f"--keyring={recipe.keyring}"] if recipe.keyring else []
    argv += [f"--setup-hook={hook(_SETTINGS)}"] if settings else []
    argv += [f"--include={','.join(recipe.packages)}"] if recipe.packages else []
    argv += [f"--customize-hook={one}" for one in (clean_up(), *(hook(command) for command in recipe.post))]
    return [*argv, release, "-", *lines]


def debootstrap(recipe: Recipe, release: str, lines: list[str], root: str) -> list[str]:
    """A directory; of the lines only the first one's address, and nothing of -updates or -security."""
    (architecture,) = recipe.architectures.values()
    argv = ["debootstrap", f"--arch={architecture}", f"--components={','.join(recipe.components)}"]
    argv += [f"--variant={recipe.variant}"] if recipe.variant != "standard" else []
    argv += [f"--keyring={recipe.keyring}"] if recipe.keyring else []
    argv += [f"--include={','.join(recipe.packages)}"] if recipe.packages else []
    address = next(word for word in lines[0].split() if "://" in word)
    return [*argv, release, root, address]


def tar(root: str, epoch: int, *, own: bool) -> list[str]:
    """A tar file on standard output, the same bytes for the same tree; ``own`` keeps the owners, else all is root's."""
    argv = [
        "tar",
        "--create",
        "--file=-",
        "--format=posix",
        "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
        "--sort=name",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        f"--mtime=@{epoch}",
        "--clamp-mtime",
        "--one-file-system",
        "--anchored",
        "--exclude=./dev/*",
    ]
    argv += [] if own else ["--owner=0", "--group=0"]
    return [*argv, f"--directory={root}", "."]

# SPDX-License-Identifier: Apache-2.0
"""What the host's apt has been told: mirrors, proxies, checks. Read through apt's own tools, never changed.

Where these are not installed, or know nothing, the recipe's own addresses are used.
"""

from __future__ import annotations

from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: settings that say how this host reaches an archive, and how strict it is with old ones
_TREES = ("Acquire::http", "Acquire::https", "Acquire::Retries", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
_FORMAT = "$(ORIGIN)\t$(CODENAME)\t$(REPO_URI)"
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class HostApt(Record):
    """``archives``: (origin, codename) → address. ``settings``: lines for an apt.conf. ``proxies``: scheme → address."""

    archives: dict[tuple[str, str], str] = {}
    settings: list[str] = []
    proxies: dict[str, str] = {}


def read() -> HostApt:
    """Ask apt-get and apt-config. What apt has not downloaded the lists of (``apt-get update``) it does not name."""
    lists = _output("apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages")
    dumped = _output("apt-config", "dump", "--no-empty", "--format", '%f "%v";%n', *_TREES)
    return HostApt(archives(lists), dumped.splitlines(), proxies(dumped))


def _output(*argv: str) -> str:
    import subprocess

    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, env=_ENVIRONMENT, timeout=60, check=False
        )
    except FileNotFoundError:
        return ""  # a host without apt has no settings of it
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def archives(text: str) -> dict[tuple[str, str], str]:
    """From ``origin TAB codename TAB address`` lines, the first of each. Addresses with a password stay out."""
    found: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        origin, codename, address = (*line.split("\t"), "", "")[:3]
        host = address.partition("://")[2].partition("/")[0]
        if origin and codename and address.startswith(("http://", "https://")) and "@" not in host:
            found.setdefault((origin, codename), address.rstrip("/"))
    return found


def proxies(dumped: str) -> dict[str, str]:
    """The proxies for all hosts, by scheme, of ``apt-config dump``."""
    found = {}
    for line in dumped.splitlines():
        key, _, value = line.partition(" ")
        for scheme in ("http", "https"):
            if key.lower() == f"acquire::{scheme}::proxy" and value.strip('";') not in ("", "DIRECT"):
                found[scheme] = value.strip('";')
    return found


def source_lines(
    sources: list[str], mirror: str, origin: str, release: str, releases: list[str], known: dict[tuple[str, str], str]
) -> list[str]:
    """The recipe's lines with the addresses that this host is to use.

    ``mirror`` stands in for the first line's address, wherever that occurs. Without one, a line for suite
    RELEASE-x takes the address that the host's apt has for RELEASE-x, or for OTHER-x of the same distribution.
    """
    found: list[str] = []
    first = ""
    for line in sources:
        words = line.split()
        at = next(n for n, word in enumerate(words) if "://" in word)
        first = first or words[at]
        if mirror:
            words[at] = mirror.rstrip("/") if words[at] == first else words[at]
        else:
            suite = words[at + 1]
            also = [other + suite.removeprefix(release) for other in releases] if suite.startswith(release) else []
            same = [known[origin, name] for name in (suite, *also) if (origin, name) in known]
            words[at] = same[0] if same else words[at]
        found.append(" ".join(words))
    return found


def needed(settings: list[str], *, own_mirror: bool, log: Callable[[str], None]) -> list[str]:
    """The apt.conf lines for a template: a mirror that the recipe names is checked as strictly as apt does by itself."""
    kept = [line for line in settings if not (own_mirror and line.startswith("Acquire::Check-"))]
    for line in kept:
        if line.startswith("Acquire::Check-"):
            log(f"as this host's apt is configured: {line}")
    return kept

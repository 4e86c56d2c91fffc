# SPDX-License-Identifier: Apache-2.0
"""Templates that have been made: one tar file for each recipe content, release and architecture.

A file is called NAME-RELEASE-ARCHITECTURE-KEY.tar; a recipe that changes has another key. Whoever makes one holds
flock(2) on the same name with ``.lock``; others wait and take what it made. A file that is being read can be
pruned: it stays until it is closed.
"""

from __future__ import annotations

import os

from boxship import fastjson
from boxship.errors import KernelError
from boxship.image.template.make import make
from boxship.image.template.recipe import Recipe, find, resolve
from boxship.image.template.work import is_regular, open_locked, sweep
from boxship.paths import private_directory
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: of a recipe, what does not change what is made of it
_ASIDE = ("path", "summary", "versions", "default", "only", "config")


class Cached(Record):
    """A template at hand. ``made_ns`` is when, in nanoseconds since 1970; ``recipe`` is resolved."""

    path: str
    recipe: Recipe
    made_ns: int


def get(
    name: str,
    directory: str,
    *,
    refresh: bool = False,
    architecture: str = "",
    log: Callable[[str], None] | None = None,
) -> Cached:
    """The template of this name, made where it is not there yet or ``refresh`` is set.

    Of two processes that want the same, one makes it; a refresh that was waited for counts as one's own.
    """
    import time

    found = find(name)
    chosen = resolve(found.recipe, found.release, architecture)
    private_directory(directory)
    (oci,) = chosen.architectures
    stem = os.path.join(directory, _stem(chosen, found.release, oci))
    path = f"{stem}.tar"
    asked = time.time_ns()
    if not refresh and is_regular(path):
        return Cached(path, chosen, os.stat(path).st_mtime_ns)
    lock = open_locked(f"{stem}.lock")
    try:
        if not is_regular(path) or (refresh and os.stat(path).st_mtime_ns < asked):
            make(found.recipe, found.release, path, architecture=oci, log=log)
            os.utime(path)  # a reproducible file keeps its bytes; when it was made is its time
        return Cached(path, chosen, os.stat(path).st_mtime_ns)
    finally:
        os.unlink(f"{stem}.lock")  # held: who waits for it sees that it is gone, and makes another
        os.close(lock)


def _stem(recipe: Recipe, release: str, architecture: str) -> str:
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._") else "_" for letter in release)
    middle = plain[-40:].lstrip("._") or "any"
    return f"{recipe.name}-{middle}-{architecture}-{key(recipe, release, architecture)[:16]}"


def key(recipe: Recipe, release: str, architecture: str) -> str:
    """What a resolved recipe makes, as a hash: its content, and which local file it would take, as that is now."""
    import hashlib

    content: dict[str, object] = {name: value for name, value in recipe.as_dict().items() if name not in _ASIDE}
    content |= {"release": release, "architecture": architecture, "file": _local_file(recipe)}
    return hashlib.sha256(fastjson.dumps(content).encode("utf-8", "surrogateescape")).hexdigest()


def _local_file(recipe: Recipe) -> list[object]:
    from boxship.image.template import busybox, fetch

    path = ""
    if recipe.kind == "busybox":
        path = busybox.program()
    elif recipe.kind == "tarball":
        source = fetch.Source(recipe.url.partition("#sha256=")[0])
        path = fetch.local(source) if source.path else ""
    if not path:
        return []
    seen = os.stat(path)
    return [path, seen.st_size, seen.st_mtime_ns]


def prune(directory: str, older_than_ns: int) -> list[str]:
    """Remove what was made before that moment (nanoseconds since 1970), and what killed makers left; the paths."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KernelError.from_os("open", error, path=directory) from None
    removed = sweep(directory)
    for name in names:
        if not name.endswith((".tar", ".lock")) or name.startswith("@"):
            continue
        stem = os.path.join(directory, name.rpartition(".")[0])
        lock = open_locked(f"{stem}.lock", wait=False)
        if lock < 0:
            continue  # it is being made
        try:
            if is_regular(f"{stem}.tar") and os.stat(f"{stem}.tar").st_mtime_ns < older_than_ns:
                os.unlink(f"{stem}.tar")
                removed.append(f"{stem}.tar")
            os.unlink(f"{stem}.lock")
        finally:
            os.close(lock)
    return removed

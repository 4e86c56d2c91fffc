# SPDX-License-Identifier: Apache-2.0
"""Recipes: what a template is made of. ``find("debian/12")`` is what ``box run template:debian/12`` begins with.

A recipe is the file NAME.toml in one of three directories; the last that has it counts: the one beside this
module, /etc/boxship/templates, $XDG_CONFIG_HOME/boxship/templates (~/.config). A file that is not asked for is
not read, so that a broken one spoils its own name only. The keys are described in docs/templates.md.
"""

from __future__ import annotations

import os
import stat

from boxship.args import suggest
from boxship.errors import InvalidRequest, KernelError, NotFound, PermissionDenied
from boxship.image.template.parse import MOST, RecipeError, is_word, parse
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: uname's machine → OCI's architecture
_MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv8l": "arm",
    "i386": "386",
    "i686": "386",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
    "loongarch64": "loong64",
}
#: what each kind cannot do without, and what only it understands
_NEEDS = {"debootstrap": ("versions", "sources"), "tarball": ("url",), "script": ("script",), "busybox": ()}
_OWN = {
    "debootstrap": ("sources", "keyring", "packages", "variant", "origin", "tool"),
    "tarball": ("url", "sha256", "index", "flavor"),
    "script": ("script",),
}


class Recipe(Record):
    """A template, for all of its releases until ``resolve`` makes it one for a single release and architecture."""

    name: str
    kind: str
    #: the file that it was read from
    path: str = ""
    summary: str = ""
    #: alias → release; empty: any release is taken as it is
    versions: dict[str, str] = {}
    default: str = ""
    #: OCI's name → the distribution's; empty: any, under OCI's name
    architectures: dict[str, str] = {}
    origin: str = ""
    mirror: str = ""
    sources: list[str] = []
    components: list[str] = ["main"]
    keyring: str = ""
    keyring_package: str = ""
    packages: list[str] = []
    variant: str = "minbase"
    #: mmdebstrap or debootstrap; empty: the first of them that is installed
    tool: str = ""
    url: str = ""
    sha256: str = ""
    index: str = ""
    flavor: str = ""
    script: str = ""
    config: dict[str, Any] = {}
    post: list[str] = []
    #: release or architecture → keys that differ for it
    only: dict[str, dict[str, Any]] = {}


class Found(Record):
    """A name understood: its recipe, with the variant that was named, and the release behind the version."""

    name: str
    recipe: Recipe
    release: str


class Listed(Record):
    """A recipe file; ``error`` says why it cannot be used, and then ``recipe`` is None."""

    name: str
    path: str
    recipe: Recipe | None
    error: str = ""


def directories() -> list[str]:
    """Where recipes are, the weakest first."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.environ.get("HOME") or "/", ".config")
    built_in = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recipes")
    return [built_in, "/etc/boxship/templates", f"{base}/boxship/templates"]


def find(name: str) -> Found:
    """``NAME``, ``NAME/VERSION`` or ``NAME/VERSION/VARIANT``. NotFound says what there is instead."""
    word, _, rest = name.partition("/")
    recipe = load(word)
    if not recipe.versions:
        if not rest and not recipe.default and "{release}" in recipe.url:
            raise InvalidRequest(f"template {word}: which one?", hint=f"write template:{word}/ADDRESS-OR-PATH")
        if rest and recipe.kind != "script" and not any("{release}" in text for text in (recipe.url, recipe.index)):
            raise InvalidRequest(f"template {word}: {rest!r}: it has no versions", hint=f"write template:{word}")
        if not rest.isprintable() or len(rest) > 4096:
            raise InvalidRequest(f"template {word}/{rest[:60]!r}: not a version, a path or an address")
        return Found(name, recipe, rest or recipe.default)
    version, _, variant = rest.partition("/")
    if variant:
        recipe = _with_variant(recipe, variant)
    version = version or recipe.default
    release = recipe.versions.get(version, version)
    if release not in recipe.versions.values():
        known = list(dict.fromkeys([*recipe.versions, *recipe.versions.values()]))
        raise NotFound(
            f"template {word}: unknown version {version!r}{suggest(version, known)}",
            hint=f"known are {', '.join(known)}",
        )
    return Found(name, recipe, release)


def _with_variant(recipe: Recipe, variant: str) -> Recipe:
    from boxship.image.template.parse import VARIANTS

    if recipe.kind != "debootstrap":
        raise InvalidRequest(f"template {recipe.name}: {variant!r}: it has no variants", hint="leave the word out")
    if variant not in VARIANTS:
        raise NotFound(
            f"template {recipe.name}: unknown variant {variant!r}{suggest(variant, list(VARIANTS))}",
            hint=f"known are {', '.join(VARIANTS)}",
        )
    only = {word: {k: v for k, v in table.items() if k != "variant"} for word, table in recipe.only.items()}
    return recipe.replace(variant=variant, only=only)


def list_templates() -> list[Listed]:
    """Every recipe that ``find`` would take, by name; broken ones with the reason."""
    from boxship.errors import BoxshipError

    found: dict[str, Listed] = {}
    for name, path in sorted(_files().items()):
        try:
            found[name] = Listed(name, path, load(name))
        except BoxshipError as error:
            found[name] = Listed(name, path, None, error.render())
    return list(found.values())


def load(name: str) -> Recipe:
    """The recipe of this name, with what its ``base`` adds. NotFound, or RecipeError for what is wrong with it."""
    files = _files()
    if name not in files:
        raise NotFound(
            f"no template is called {name!r}{suggest(name, list(files))}",
            hint=f"known are {', '.join(sorted(files))}; your own go to {directories()[-1]}/NAME.toml",
        )
    values = _merged(name, len(directories()), [])
    path = files[name]
    recipe = Recipe(**{"name": name, "kind": "", "path": path} | values)
    _check(recipe, values)
    return recipe


def _files(below: int = 1 << 30) -> dict[str, str]:
    """Name → the strongest file, of the first ``below`` directories."""
    found: dict[str, str] = {}
    for directory in directories()[:below]:
        try:
            entries = os.listdir(directory)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise KernelError.from_os("open", error, path=directory, hint="recipes are looked for there") from None
        for entry in entries:
            if entry.endswith(".toml") and not entry.startswith("."):
                found[entry.removesuffix(".toml")] = os.path.join(directory, entry)
    return found


def _merged(name: str, below: int, seen: list[str]) -> dict[str, Any]:
    """The values of a file on top of those of its base. A base of the file's own name is the one that it overrides."""
    path = _files(below)[name]
    values = parse(_read(path), path, name)
    base = values.pop("base", "")
    if not base:
        return values
    level = directories().index(os.path.dirname(path)) if base == name else len(directories())
    if base not in _files(level):
        raise RecipeError(path, 0, f"base: there is no recipe {base!r}{suggest(base, list(_files(level)))}")
    if path in seen:
        raise RecipeError(path, 0, "base: the recipes stand on each other in a circle", hint="one must have no base")
    under = _merged(base, level, [*seen, path])
    only = {word: under["only"].get(word, {}) | values["only"].get(word, {}) for word in under["only"] | values["only"]}
    return under | values | {"only": only, "config": under.get("config", {}) | values.get("config", {})}


def _read(path: str) -> str:
    """The text of a recipe. Its commands run as the caller: nobody else may have been able to write it."""
    try:
        with open(path, "rb") as file:
            held = os.fstat(file.fileno())
            data = file.read(MOST + 1)
    except OSError as error:
        raise KernelError.from_os("open", error, path=path) from None
    if held.st_uid not in (0, os.geteuid()) and os.path.dirname(path) != directories()[0]:
        raise PermissionDenied(
            f"{path}: owned by uid {held.st_uid}, and its commands would run as uid {os.geteuid()}",
            hint="chown it to yourself once you have read it",
        )
    if held.st_mode & stat.S_IWOTH:
        raise PermissionDenied(f"{path}: anybody may write it", hint=f"chmod o-w {path}")
    if len(data) > MOST:
        raise RecipeError(path, 0, f"more than {MOST} bytes", hint="this is no recipe")
    try:
        return data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecipeError(path, line, "not UTF-8", hint="save it as UTF-8") from None


def _check(recipe: Recipe, values: dict[str, Any]) -> None:
    """What only the whole recipe can show."""
    path = recipe.path
    if not recipe.kind:
        raise RecipeError(path, 0, "kind: missing", hint='write kind = "debootstrap", "tarball", "script" or "busybox"')
    given = {*values, *(key for table in recipe.only.values() for key in table)}
    for kind, keys in _OWN.items():
        for key in keys:
            if key in given and kind != recipe.kind:
                raise RecipeError(
                    path, 0, f"{key}: only recipes of kind {kind!r} have it, not {recipe.kind!r}", hint="remove it"
                )
    for key in _NEEDS[recipe.kind]:
        if not getattr(recipe, key) and not all(table.get(key) for table in recipe.only.values() or [{}]):
            raise RecipeError(path, 0, f"{key}: missing", hint=f"kind {recipe.kind!r} needs it")
    if recipe.post and recipe.kind in ("tarball", "busybox"):
        raise RecipeError(
            path, 0, f"post: kind {recipe.kind!r} is taken as it is", hint="use a Dockerfile, or kind 'script'"
        )
    known = [*recipe.versions, *recipe.versions.values()]
    if recipe.versions and recipe.default not in known:
        raise RecipeError(
            path, 0, f"default: {recipe.default!r} is not in versions", hint=f"write one of {', '.join(known)}"
        )
    for word in recipe.only:
        every = [*known, *recipe.architectures, *_MACHINES.values()]
        if word not in every:
            raise RecipeError(
                path,
                0,
                f"only.{word}: neither a release nor an architecture{suggest(word, every)}",
                hint="rename the table",
            )


def host_architecture() -> str:
    """OCI's name of this machine's architecture."""
    machine = os.uname().machine
    return _MACHINES.get(machine, machine)


def resolve(recipe: Recipe, release: str, architecture: str = "") -> Recipe:
    """The recipe for one release and architecture (OCI's name; empty: this machine's), placeholders filled in.

    What is left: ``architectures`` has the one entry, ``{file}`` of a url waits for the index.
    """
    architecture = architecture or host_architecture()
    known = recipe.architectures or {architecture: architecture}
    if architecture not in known or not is_word(architecture):
        raise NotFound(
            f"template {recipe.name}: not made for {architecture!r}{suggest(architecture, list(known))}",
            hint=f"its architectures are {', '.join(known)}",
        )
    changes: dict[str, Any] = {}
    aliases = [alias for alias, behind in recipe.versions.items() if behind == release]
    for word in (*aliases, release, architecture):
        changes |= recipe.only.get(word, {})
    chosen = recipe.replace(**changes, only={}, architectures={architecture: known[architecture]})
    words = {"release": release, "architecture": architecture, "arch": known[architecture]}
    words["components"] = " ".join(chosen.components)
    words["mirror"] = _fill(chosen.mirror, words)
    filled: dict[str, Any] = {key: _fill(getattr(chosen, key), words) for key in ("mirror", "url", "sha256", "index")}
    return chosen.replace(**filled, sources=[_fill(line, words) for line in chosen.sources])


def _fill(text: str, words: dict[str, str]) -> str:
    """Placeholders replaced, once: what a value brings in is not looked at again."""
    first, *parts = text.split("{")
    out = [first]
    for part in parts:
        word, closed, rest = part.partition("}")
        out.append(words[word] + rest if closed and word in words else "{" + part)
    return "".join(out)

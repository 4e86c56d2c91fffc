# SPDX-License-Identifier: Apache-2.0
"""Habits that a reader may rely on: layers, sizes, licences, what the hot path imports."""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).parents[2]
SRC = TOP / "src" / "boxship"
MODULES = sorted(SRC.rglob("*.py"))
NATIVE = sorted([*(SRC / "native").glob("*.c"), *(SRC / "native").glob("*.h")])

#: package → what it may import from; modules right below boxship are open to all
LAYERS = {
    "kernel": {"kernel"},
    "spec": {"spec"},
    "plan": {"plan", "spec"},
    "native": set(),
    "runtime": {"runtime", "plan", "spec", "kernel"},
    "image": {"image", "runtime", "spec", "kernel"},
    "engine": {"engine", "image", "runtime", "plan", "spec", "kernel"},
    "cli": {"cli", "engine", "runtime", "plan", "spec", "bench"},
    "bench": {"bench", "engine", "runtime", "plan", "spec", "kernel"},
}
OPEN = {"errors", "record", "database", "fastjson", "args", "paths", "undo", "console", "__version__"}
#: modules that cost more than half a millisecond: never at the top of a module of these packages
HEAVY = {
    "typing",
    "dataclasses",
    "enum",
    "re",
    "json",
    "pathlib",
    "subprocess",
    "logging",
    "functools",
    "contextlib",
    "collections",
    "socket",
    "signal",
    "tempfile",
    "shutil",
    "argparse",
    "inspect",
    "asyncio",
    "sqlite3",
    "datetime",
    "string",
    "random",
    "hashlib",
}


def imports(path: pathlib.Path, *, top_only: bool) -> list[tuple[str, int]]:
    """Modules that a file imports; those that only a type checker sees are left out."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for child in block.body
        for node in ast.walk(child)
    }
    nodes = tree.body if top_only else list(ast.walk(tree))
    found = []
    for node in nodes:
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_layers(path):
    package = path.relative_to(SRC).parts[0]
    if package.endswith(".py"):
        return
    for name, line in imports(path, top_only=False):
        parts = name.split(".")
        if parts[0] != "boxship" or len(parts) < 2 or parts[1] in OPEN:
            continue
        assert parts[1] in LAYERS[package], (
            f"{path.name}:{line} imports {name}: {package} may import {sorted(LAYERS[package])}"
        )


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if p.relative_to(SRC).parts[0] in ("kernel", "spec", "plan", "runtime", "engine", "cli")],
    ids=lambda p: str(p.relative_to(SRC)),
)
def test_no_heavy_import_at_the_top(path):
    heavy = [f"{path.name}:{line} {name}" for name, line in imports(path, top_only=True) if name.split(".")[0] in HEAVY]
    assert not heavy


@pytest.mark.parametrize("call", [["boxship.cli.main", "BOX"], ["boxship.runtime.oci_cli", "BOXC"]], ids=lambda c: c[0])
def test_hot_path_loads_nothing_heavy(call):
    code = (
        f"import sys, {call[0]}\nimport boxship.engine.host, boxship.cli.run, boxship.runtime.create, boxship.cli.streams\n"
        f"print(' '.join(sorted(set(sys.modules) & {HEAVY!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(SRC.parent)!r})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    "path",
    [
        *MODULES,
        *NATIVE,
        *sorted((TOP / "tests").rglob("*.py")),
        *sorted((TOP / "tests").rglob("*.[ch]")),
        *sorted((TOP / "tests").rglob("*.sh")),
    ],
    ids=lambda p: str(p.relative_to(TOP)),
)
def test_licence(path):
    head = path.read_text().split("\n")[:3]
    assert any("SPDX-License-Identifier: Apache-2.0" in line for line in head)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_sizes(path):
    text = path.read_text()
    assert text.count("\n") <= 420
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno + 1 <= 60, f"{path.name}:{node.lineno} {node.name}"


def test_public_functions_have_docstrings():
    bare = []
    for path in MODULES:
        tree = ast.parse(path.read_text())
        for node in [tree, *ast.walk(tree)]:
            named = (
                isinstance(node, (ast.FunctionDef, ast.ClassDef))
                and not node.name.startswith("_")
                and node.col_offset == 0
            )
            if (named or isinstance(node, ast.Module)) and not ast.get_docstring(node):
                bare.append(f"{path.relative_to(SRC)}: {getattr(node, 'name', 'module')}")
    assert not bare


def c_functions(text: str) -> list[tuple[str, int]]:
    found, start, name = [], 0, ""
    for number, line in enumerate(text.split("\n")):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start and not line.startswith("};"):
            found.append((name, number - start + 1))
            start = 0
        elif re.match(r"^[a-z].*\(", line):
            name = line
    return found


def test_c_stays_small():
    code = 0
    for path in NATIVE:
        if path.name == "plan.h":
            continue
        text = path.read_text()
        long = [f"{path.name}: {name}: {size}" for name, size in c_functions(text) if size > 50]
        assert not long
        code += sum(
            1
            for line in re.sub(r"/\*.*?\*/", "", text, flags=re.S).split("\n")
            if line.strip() and line.strip() not in "{}"
        )
    assert code <= 1800, f"{code} lines of C, see docs/decisions/0003-size-of-boxmon.md"


def test_decisions_are_numbered():
    names = sorted(p.name for p in (TOP / "docs" / "decisions").glob("*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    for name in names:
        text = (TOP / "docs" / "decisions" / name).read_text()
        assert all(word in text for word in ("## Context", "## Decision", "## Consequences")), name

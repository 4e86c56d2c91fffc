# SPDX-License-Identifier: Apache-2.0
"""Which stages a target needs, in the order in which they are built.

A stage needs its base, if that is an earlier stage, and every stage that COPY --from or RUN --mount=from names, also
in triggers that it has from its base. Names are compared without regard to case; of two with the same name the nearer
one above is meant. FROM never looks down: a name that only comes later is an image's. COPY and RUN that name a later
stage, or their own, are refused, but only where they are needed.
"""

from __future__ import annotations

from boxship.args import suggest
from boxship.errors import InvalidRequest
from boxship.image.build.expand import ExpansionError, expand, shown
from boxship.image.build.instructions import Copy, Dockerfile, Instruction, OnBuild, Run, Stage
from boxship.image.build.syntax import DockerfileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def needed(dockerfile: Dockerfile, target: str = "", scope: Mapping[str, str] | None = None) -> list[int]:
    """Indexes of the stages to build for a target, which is the last of them; the default is the last stage.

    ``scope`` has the values of the global ARGs, see ``global_scope``. InvalidRequest for a target that is not there,
    DockerfileError for stages that wait for one another.
    """
    values = global_scope(dockerfile, {}) if scope is None else scope
    todo, found = [find_target(dockerfile, target)], set()
    while todo:
        index = todo.pop()
        if index not in found:
            found.add(index)
            todo += dependencies(dockerfile, index, values)
    return sorted(found)


def global_scope(
    dockerfile: Dockerfile, given: Mapping[str, str], predefined: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Values of the ARGs before the first FROM. ``given`` is from --build-arg, ``predefined`` TARGETPLATFORM and such."""
    scope = dict(predefined or {})
    for one in dockerfile.arguments:
        for name, default in one.pairs:
            if name in given:
                scope[name] = given[name]
            elif default is not None:
                scope[name] = _expanded(dockerfile, default, scope, one, "ARG")
    return scope


def find_target(dockerfile: Dockerfile, target: str) -> int:
    """Index of the stage with that name or number, the last one for none; InvalidRequest."""
    if not target:
        return len(dockerfile.stages) - 1
    for stage in reversed(dockerfile.stages):
        if stage.name == target.lower():
            return stage.index
    if _is_number(target) and int(target) < len(dockerfile.stages):
        return int(target)
    names = [stage.name for stage in dockerfile.stages if stage.name]
    hint = f"stages are {' '.join(names)}" if names else "no stage has a name: write FROM IMAGE AS NAME"
    problem = f"{dockerfile.file}: no stage {shown(target)}{suggest(target.lower(), names)}"
    raise InvalidRequest(problem, hint=hint)


def base_stage(dockerfile: Dockerfile, index: int, scope: Mapping[str, str]) -> int | None:
    """The earlier stage that a stage begins with; None when its base is an image or scratch."""
    stage = dockerfile.stages[index]
    base = _expanded(dockerfile, stage.base, scope, stage.start, "FROM")
    if not base:
        hint = f"give {shown(stage.base)} a value with --build-arg, or a default: ARG NAME=IMAGE"
        raise DockerfileError(dockerfile.file, stage.line, "FROM", f"{shown(stage.base)} is empty", hint=hint)
    return _above(dockerfile.stages[:index], base)


def dependencies(dockerfile: Dockerfile, index: int, scope: Mapping[str, str]) -> list[int]:
    """Indexes of the stages that one stage needs itself, its base first; DockerfileError."""
    stage = dockerfile.stages[index]
    base = base_stage(dockerfile, index, scope)
    instructions: list[Instruction] = list(stage.instructions)
    if base is not None:
        instructions += [one.instruction for one in dockerfile.stages[base].instructions if isinstance(one, OnBuild)]
    found = [] if base is None else [base]
    return list(dict.fromkeys([*found, *sources(dockerfile, index, instructions)]))


def sources(dockerfile: Dockerfile, index: int, instructions: Iterable[Instruction]) -> list[int]:
    """The stages that instructions name when a stage carries them out, triggers of images too; DockerfileError."""
    found = []
    for one in instructions:
        for word in _names(one):
            stage = source_stage(dockerfile, index, word, one)
            if stage is not None:
                found.append(stage)
    return found


def source_stage(dockerfile: Dockerfile, index: int, word: str, one: Instruction) -> int | None:
    """What ``--from=word`` means inside of a stage: an earlier stage, or (None) an image. DockerfileError."""
    stages = dockerfile.stages
    found = _above(stages[:index], word)
    if found is None and _is_number(word):
        found = int(word)
        if found >= len(stages):
            problem = f"there is no stage {shown(word)}"
            hint = f"the first is 0, the last before this one {index - 1}" if index else "this is the first stage"
            raise DockerfileError(dockerfile.file, one.line, one.keyword, problem, hint=hint)
    if found is None:
        found = _above(stages[index:], word)
    if found is None or found < index:
        return found
    circle = _circle(stages, index, found)
    problem = f"stage {stages[found].title} begins later, in line {stages[found].line}"
    if circle:
        problem = f"stages need one another: {' → '.join(stages[at].title for at in circle)}"
    raise DockerfileError(dockerfile.file, one.line, one.keyword, problem, hint="name a stage that is above this one")


def _names(one: Instruction) -> list[str]:
    if isinstance(one, Copy):
        return [one.source] if one.source else []
    return [mount.source_stage for mount in one.mounts if mount.source_stage] if isinstance(one, Run) else []


def _above(stages: tuple[Stage, ...], name: str) -> int | None:
    """The last of these stages that has the name."""
    for stage in reversed(stages):
        if stage.name and stage.name == name.lower():
            return stage.index
    return None


def _is_number(word: str) -> bool:
    return 0 < len(word) <= 9 and not word.strip("0123456789")


def _circle(stages: tuple[Stage, ...], start: int, first: int) -> list[int]:
    """The way back from a later stage to where it is needed, by the names that are written; nothing if there is none."""
    before = {first: start}
    todo = [first]
    while todo:
        at = todo.pop(0)
        if at == start:
            way = [start]
            while way[-1] != first:
                way.append(before[way[-1]])
            return [start, *reversed(way)]
        words = [stages[at].base, *(word for one in stages[at].instructions for word in _names(one))]
        for word in words:
            reached = int(word) if _is_number(word) and int(word) < len(stages) else _above(stages, word)
            if reached is not None and reached not in before:
                before[reached] = at
                todo.append(reached)
    return []


def _expanded(dockerfile: Dockerfile, word: str, scope: Mapping[str, str], one: Instruction, keyword: str) -> str:
    try:
        return expand(word, scope, escape=dockerfile.escape)
    except ExpansionError as error:
        raise DockerfileError(dockerfile.file, one.line, keyword, error.message, hint=error.hint) from None

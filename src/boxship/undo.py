# SPDX-License-Identifier: Apache-2.0
"""A rollback stack: every acquisition pushes its undo; success forgets them all.

    with Undo() as undo:
        os.mkdir(path)
        undo.push(os.rmdir, path)
        …
        undo.forget()

Undos run in reverse. One that fails does not stop the others: its error is added to the exception under
way as a note, so that nothing is swallowed.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self


class Undo:
    """The stack; as a context manager it runs when the block is left without ``forget()``."""

    def __init__(self) -> None:
        self._stack: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def push(self, action: Callable[..., object], *args: Any) -> None:
        """Remember how to take back what has just been done."""
        self._stack.append((action, args))

    def forget(self) -> None:
        """All went well: what has been acquired stays."""
        self._stack.clear()

    def run(self) -> list[Exception]:
        """Take everything back, last first; returns the errors of undos that failed."""
        failed: list[Exception] = []
        while self._stack:
            action, args = self._stack.pop()
            try:
                action(*args)
            except Exception as error:  # noqa: BLE001 - the rest must be undone too; the caller gets them all
                failed.append(error)
        return failed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for failed in self.run():
            if error is None:
                raise failed
            error.add_note(f"while cleaning up: {failed}")

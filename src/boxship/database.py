# SPDX-License-Identifier: Apache-2.0
"""The one SQLite database of a user: what images there are, and what of them is kept.

Write-ahead logging, short transactions, and a wait of half a minute for one's turn: 'database is locked' never reaches a
user. Each thread has a connection of its own. Migrations only ever add to ``MIGRATIONS``; the file says how many it has had.
"""

from __future__ import annotations

import os
import sqlite3
import threading

from boxship.errors import BoxshipError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_WAIT_S = 30.0
MIGRATIONS = (
    """
    CREATE TABLE images (
        name TEXT PRIMARY KEY,          -- the full reference with its tag, docker.io/library/debian:12
        digest TEXT NOT NULL,           -- of the manifest or the index
        media_type TEXT NOT NULL,
        size INTEGER NOT NULL,          -- of that document
        created_ns INTEGER NOT NULL,    -- when this name was given
        used_ns INTEGER NOT NULL
    );
    CREATE INDEX images_digest ON images (digest);
    CREATE TABLE sources (
        digest TEXT NOT NULL,           -- of a blob
        repository TEXT NOT NULL,       -- where a registry has it: HOST/PATH, to mount it from there
        PRIMARY KEY (digest, repository)
    ) WITHOUT ROWID;
    """,
)


class Database:
    """The file at ``path``, made when it is missing."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._local = threading.local()

    def read(self, sql: str, *values: object) -> list[Any]:
        """All rows of one question."""
        return self._connection().execute(sql, values).fetchall()

    def write(self) -> Transaction:
        """A transaction, for a ``with`` block: all of it, or nothing."""
        return Transaction(self._connection())

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None or self._local.pid != os.getpid():  # a forked child must leave its parent's alone
            found = self._open()
            self._local.connection, self._local.pid = found, os.getpid()
        return found

    def _open(self) -> sqlite3.Connection:
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            opened = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)
            opened.execute("PRAGMA journal_mode = WAL")
            opened.execute("PRAGMA synchronous = NORMAL")
            _migrate(opened)
        except sqlite3.Error as error:
            raise BoxshipError(
                f"{self.path}: {error}",
                hint="box system check says what is wrong; the file can be made anew from what is on the disk",
            ) from None
        except OSError as error:
            raise KernelError.from_os("open", error, path=self.path) from None
        return opened


class Transaction:
    """BEGIN IMMEDIATE to COMMIT; what is raised inside rolls it back."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.execute("ROLLBACK" if error else "COMMIT")


def _migrate(opened: sqlite3.Connection) -> None:
    (done,) = opened.execute("PRAGMA user_version").fetchone()
    if done > len(MIGRATIONS):
        raise BoxshipError(
            f"the database is of a newer version ({done} migrations; this one knows {len(MIGRATIONS)})",
            hint="use the newer version, or another store",
        )
    if done == len(MIGRATIONS):
        return
    with Transaction(opened) as connection:
        (done,) = connection.execute("PRAGMA user_version").fetchone()  # another process may just have done it
        for number, script in enumerate(MIGRATIONS[done:], done + 1):
            for statement in script.split(";"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")

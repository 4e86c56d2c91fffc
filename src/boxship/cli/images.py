# SPDX-License-Identifier: Apache-2.0
"""Verbs on images: pull push images tag rmi inspect history save load import search login logout, image prune."""

from __future__ import annotations

import os
import sys

from boxship import fastjson
from boxship.engine import images as engine
from boxship.errors import BoxshipError, InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.args import Parsed
    from boxship.image.transfer import Progress

_UNITS = ("B", "kB", "MB", "GB", "TB")
SHORT = 12


def size_text(count: float) -> str:
    """Bytes as Docker shows them, in powers of ten and four digits."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.4g}{_UNITS[unit]}"


def short(digest: str) -> str:
    """The first twelve digits of an id."""
    return digest.partition(":")[2][:SHORT]


def images(parsed: Parsed) -> int:
    """List images."""
    v = parsed.values
    rows = [
        row
        for row in engine.rows()
        if not parsed.operands or parsed.operands[0] in (row.repository, f"{row.repository}:{row.tag}")
    ]
    if v["quiet"]:
        ids = dict.fromkeys(row.id if v["no_trunc"] else short(row.id) for row in rows)
        sys.stdout.write("".join(f"{one}\n" for one in ids))
        return 0
    if v["format"] == "json":
        sys.stdout.write(fastjson.dumps([row.as_dict() for row in rows], indent=2) + "\n")
        return 0
    from boxship.cli.format import table

    head = ("REPOSITORY", "TAG", *(("DIGEST",) if v["digests"] else ()), "IMAGE ID", "CREATED", "SIZE")
    cells = [
        (
            row.repository,
            row.tag,
            *((row.digest,) if v["digests"] else ()),
            row.id if v["no_trunc"] else short(row.id),
            ago(row.created),
            size_text(row.size),
        )
        for row in rows
    ]
    sys.stdout.write(table(head, cells))
    return 0


_SPANS = (
    (31_536_000, "year"),
    (2_592_000, "month"),
    (604_800, "week"),
    (86_400, "day"),
    (3600, "hour"),
    (60, "minute"),
    (1, "second"),
)


def ago(when: str) -> str:
    """``3 weeks ago`` of an RFC 3339 time; nothing for what is none."""
    import datetime

    try:
        then = datetime.datetime.fromisoformat(when[:26].rstrip("Z") + "+00:00" if when.endswith("Z") else when)
    except ValueError:
        return ""
    seconds = (datetime.datetime.now(datetime.UTC) - then).total_seconds()
    for length, name in _SPANS:
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "less than a second ago"


class Shown:
    """Progress of a transfer on standard error: lines that change on a terminal, one line a blob elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        import threading

        self._lock = threading.Lock()
        self._quiet, self._live = quiet, sys.stderr.isatty() and not quiet
        self._lines: dict[str, str] = {}

    def __call__(self, progress: Progress) -> None:
        """One event, from any thread."""
        if self._quiet:
            return
        text = f"{short(progress.digest)}: {_PHASES[progress.phase]}"
        if progress.phase in ("downloading", "uploading") and progress.size:
            text += f" {_bar(progress.done, progress.size)} {size_text(progress.done)}/{size_text(progress.size)}"
        with self._lock:
            if self._live:
                self._redraw(progress.digest, text)
            elif progress.phase in ("done", "there", "mounted") and self._lines.get(progress.digest) != text:
                self._lines[progress.digest] = text
                sys.stderr.write(f"{text}\n")

    def _redraw(self, digest: str, text: str) -> None:
        up = len(self._lines)
        self._lines[digest] = text
        out = f"\x1b[{up}A" if up else ""
        sys.stderr.write(out + "".join(f"\x1b[2K{line}\n" for line in self._lines.values()))
        sys.stderr.flush()


_PHASES = {
    "waiting": "Waiting",
    "downloading": "Downloading",
    "uploading": "Pushing",
    "there": "Already exists",
    "unpacking": "Extracting",
    "done": "Complete",
    "mounted": "Mounted",
}


def _bar(done: int, size: int) -> str:
    filled = min(20, 20 * done // size)
    return f"[{'=' * filled}{' ' * (20 - filled)}]"


def pull(parsed: Parsed) -> int:
    """Fetch images."""
    v = parsed.values
    for word in parsed.operands:
        source = word.partition(":")[0]
        if source in engine.SOURCES and ":" in word:
            kept = engine.store()
            image = engine.obtain(kept, word, pull="always" if v["refresh"] else "missing", platform=v["platform"])
            kept.lower_directories(image)
            sys.stdout.write(f"{image.name or image.id}\n")
            continue
        from boxship.engine import registries

        name, target = registries.pull(word, platform=v["platform"], tell=Shown(quiet=v["quiet"]))
        if not v["quiet"]:
            sys.stderr.write(f"Digest: {target.digest}\n")
        sys.stdout.write(f"{name}\n")
    return 0


def push(parsed: Parsed) -> int:
    """Send an image."""
    from boxship.engine import registries

    name, digest = registries.push(parsed.operands[0], tell=Shown(quiet=parsed.values["quiet"]))
    sys.stdout.write(f"{name.tag or name}: digest: {digest}\n")
    return 0


def tag(parsed: Parsed) -> int:
    """Give an image one more name."""
    engine.tag(*parsed.operands)
    return 0


def rmi(parsed: Parsed) -> int:
    """Remove names and images; the first failure is told, the others are removed all the same."""
    failed: BoxshipError | None = None
    for word in parsed.operands:
        try:
            lines = engine.remove(word, force=parsed.values["force"], in_use=engine.users_of)
        except BoxshipError as error:
            failed = failed or error
            continue
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    if failed:
        raise failed
    return 0


def inspect(parsed: Parsed) -> int:
    """Show images as JSON."""
    found = [engine.inspect(word) for word in parsed.operands]
    sys.stdout.write(fastjson.dumps(found, indent=4) + "\n")
    return 0


def history(parsed: Parsed) -> int:
    """Show how an image was made."""
    rows = engine.history(parsed.operands[0])
    if parsed.values["format"] == "json":
        sys.stdout.write(fastjson.dumps(rows, indent=2) + "\n")
        return 0
    from boxship.cli.format import table

    cells = []
    for row in rows:
        text = (
            row["created_by"]
            if parsed.values["no_trunc"] or len(row["created_by"]) <= 45
            else row["created_by"][:44] + "…"
        )
        cells.append((ago(row["created"]), text, size_text(row["size"]), row["comment"]))
    sys.stdout.write(table(("CREATED", "CREATED BY", "SIZE", "COMMENT"), cells))
    return 0


def save(parsed: Parsed) -> int:
    """Write images to an archive or a layout."""
    output, form = parsed.values["output"], parsed.values["format"]
    if form == "oci-dir":
        if not output:
            raise InvalidRequest("--format oci-dir needs --output DIRECTORY")
        engine.save_layout(parsed.operands, output)
        return 0
    if not output and os.isatty(1):
        raise InvalidRequest("an archive does not go to a terminal", hint="redirect it, or name a file with --output")
    if not output:
        engine.save(parsed.operands, sys.stdout.buffer.write)
        return 0
    beside = f"{output}.{os.getpid()}"
    try:
        with open(beside, "xb") as file:
            engine.save(parsed.operands, file.write)
        os.rename(beside, output)
    finally:
        if os.path.lexists(beside):
            os.unlink(beside)
    return 0


def load(parsed: Parsed) -> int:
    """Read images from an archive or a layout."""
    for line in engine.load(parsed.values["input"] or "-"):
        sys.stdout.write(f"{line}\n")
    return 0


def import_(parsed: Parsed) -> int:
    """A root file system becomes an image."""
    path, *name = parsed.operands
    v = parsed.values
    found = engine.import_file(path, name[0] if name else "", changes=v["change"] or [], message=v["message"])
    sys.stdout.write(f"{found}\n")
    return 0


def prune(parsed: Parsed) -> int:
    """Take away what nobody needs."""
    found = engine.prune(everything=parsed.values["all"], dry_run=parsed.values["dry_run"])
    if found.busy:
        sys.stderr.write("box: warning: images are being brought in at this moment: nothing was looked at\n")
    for digest in found.blobs:
        sys.stdout.write(f"{digest}\n")
    sys.stdout.write(f"Total reclaimed space: {size_text(found.bytes)}\n")
    return 0


def search(parsed: Parsed) -> int:
    """Look for repositories."""
    from boxship.cli.format import table
    from boxship.engine import registries

    found = registries.search(parsed.operands[0], parsed.values["limit"])
    sys.stdout.write(
        table(("NAME", "DESCRIPTION", "STARS"), [(one.name, one.description[:60], one.stars) for one in found])
    )
    return 0


def login(parsed: Parsed) -> int:
    """Keep credentials for a registry."""
    from boxship.engine import registries

    v, host = parsed.values, (parsed.operands or ["docker.io"])[0]
    username = v["username"] or (input("Username: ") if os.isatty(0) else "")
    if v["password_stdin"]:
        secret = sys.stdin.readline().rstrip("\r\n")
    elif v["password"]:
        secret = v["password"]
        sys.stderr.write("box: warning: --password can be seen by everybody on this machine; --password-stdin cannot\n")
    elif os.isatty(0):
        import getpass

        secret = getpass.getpass("Password: ")
    else:
        raise InvalidRequest("login needs --username and --password-stdin where there is no terminal")
    if not username or not secret:
        raise InvalidRequest("login needs a user and a password")
    where = registries.login(host, username, secret)
    sys.stdout.write(f"Login Succeeded: kept in {where}\n")
    return 0


def logout(parsed: Parsed) -> int:
    """Forget credentials."""
    from boxship.engine import registries

    sys.stdout.write(f"Removed from {registries.logout((parsed.operands or ['docker.io'])[0])}\n")
    return 0

# SPDX-License-Identifier: Apache-2.0
"""Downloads that go on where they broke off, checksums before anything is used, decompression to a plain tar file.

A checksum that is itself downloaded is taken from https, or from this machine, only: over http it proves nothing.
"""

from __future__ import annotations

import os

from boxship.errors import InvalidRequest, KernelError, NotFound
from boxship.image.template.work import TemplateError, run
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPResponse
    from typing import IO, Any

#: attempts in a row that bring nothing, before it is given up
ATTEMPTS = 5
#: seconds without a byte; and before the n-th further attempt, n times this
TIMEOUT = 60.0
PAUSE = 1.0
_CHUNK = 1 << 20
#: the largest index or list of checksums, bytes
_MOST_LIST = 4 << 20
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_MAGICS = ((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\x00", "lzma"), (b"BZh", "bz2"), (b"\x28\xb5\x2f\xfd", "zstd"))


class Source(Record):
    """Where a tar file is, and what it must hash to (empty for a local file that need not be checked)."""

    url: str
    sha256: str = ""

    @property
    def path(self) -> str:
        """The local path, or an empty string for an address."""
        if self.url.startswith("file://"):
            from urllib.parse import unquote

            return unquote(self.url.removeprefix("file://"))
        return "" if "://" in self.url else self.url


def locate(url: str, sha256: str, index: str, flavor: str) -> Source:
    """The source that a resolved recipe means: looked up in its index, its checksum fetched where it is an address."""
    url, mark, word = url.partition("#sha256=")
    sha256 = word if mark else sha256
    if index:
        entry = parse_index(_text(index), flavor, index)
        return Source(url.replace("{file}", entry["file"]), sha256 or entry["sha256"])
    if "://" in sha256:
        return Source(url, parse_sums(_text(sha256), url.rpartition("/")[2], sha256))
    if sha256 and (len(sha256) != 64 or sha256.lower().strip("0123456789abcdef")):
        raise InvalidRequest(f"{url}: sha256 {sha256[:80]!r} is not 64 hexadecimal digits")
    found = Source(url, sha256.lower())
    if not sha256 and not found.path:
        raise InvalidRequest(
            f"{url}: no checksum", hint="give sha256 in the recipe, or write #sha256=HEX behind the address"
        )
    return found


def parse_index(text: str, flavor: str, where: str) -> dict[str, str]:
    """The entry of a list of releases: blocks that begin with ``-``, of ``key: value`` lines, as Alpine publishes."""
    entries: list[dict[str, str]] = []
    for line in text.splitlines():
        if line.startswith("-") and not line.startswith("---"):
            entries.append({})
            line = f" {line[1:]}"
        key, colon, value = line.strip().partition(":")
        if entries and colon and line.startswith(" "):
            entries[-1].setdefault(key, value.strip().strip("\"'"))
    for entry in entries:
        if (
            entry.get("flavor", "") == flavor
            and "/" not in entry.get("file", "/")
            and len(entry.get("sha256", "")) == 64
        ):
            return entry
    seen = ", ".join(sorted({entry.get("flavor", "?") for entry in entries})) or "nothing"
    raise TemplateError(f"{where}: no entry of flavor {flavor!r} with file and sha256", hint=f"it lists {seen}")


def parse_sums(text: str, name: str, where: str) -> str:
    """The checksum of a file in a list as sha256sum(1) writes it; one that stands alone is taken too."""
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    for words in lines:
        named = words[1].strip().lstrip("*").rpartition("/")[2] if len(words) == 2 else name
        if named == name and len(words[0]) == 64 and (len(words) == 2 or len(lines) == 1):
            return words[0].lower()
    raise TemplateError(
        f"{where}: no checksum of {name}", hint="sha256 is the address of a list as sha256sum writes it"
    )


def _text(url: str) -> str:
    host = url.partition("://")[2].partition("/")[0]
    if not url.startswith("https://") and host.rpartition(":")[0] not in _LOCAL and host not in _LOCAL:
        raise InvalidRequest(f"{url}: a checksum must not come by http", hint="use https, or write the checksum down")
    try:
        with _open(url, 0) as answer:
            data: bytes = answer.read(_MOST_LIST + 1)
    except OSError as error:
        raise _unreachable(url, error) from None
    if len(data) > _MOST_LIST:
        raise TemplateError(f"{url}: larger than {_MOST_LIST} bytes")
    return data.decode(errors="replace")


def _open(url: str, start: int) -> HTTPResponse:
    """Ask for a file from a byte on. What began as https does not end as http."""
    import urllib.request

    if not url.startswith(("http://", "https://")):
        raise InvalidRequest(f"{url}: not an http or https address")
    headers = {"User-Agent": "boxship", "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    answer: HTTPResponse = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    if url.startswith("https://") and not answer.url.startswith("https://"):
        answer.close()
        raise TemplateError(f"{url}: led to {answer.url}, which is not https")
    return answer


def _unreachable(url: str, error: OSError) -> TemplateError:
    code = getattr(error, "code", 0)
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    why = f"HTTP {code} {reason}" if code else str(reason)
    return TemplateError(f"{url}: {why}", hint="see whether the address is right, and whether it needs $https_proxy")


def download(url: str, path: str, *, log: Callable[[str], None]) -> None:
    """Bring a file to ``path``. A connection that breaks is made again from there on, while something comes."""
    import time
    from http.client import HTTPException

    failures = 0
    with open(path, "wb") as file:
        while True:
            before = file.tell()
            try:
                if _receive(url, file):
                    return
                problem = "the connection broke"
            except (OSError, HTTPException) as error:
                if 400 <= getattr(error, "code", 0) < 500:
                    assert isinstance(error, OSError)
                    raise _unreachable(url, error) from None
                problem = str(error)
            failures = 1 if file.tell() > before else failures + 1
            if failures >= ATTEMPTS:
                raise TemplateError(f"{url}: {problem}, {failures} times at byte {file.tell()}", hint="try again later")
            log(f"{url}: {problem} at byte {file.tell()}; going on from there")
            time.sleep(PAUSE * failures)


def _receive(url: str, file: IO[bytes]) -> bool:
    """Append what one answer brings; whether the file is complete then."""
    start = file.tell()
    with _open(url, start) as answer:
        if start and (
            answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        ):
            file.seek(0)  # a server that cannot go on begins again
            file.truncate()
            start = 0
        length = answer.headers.get("Content-Length")
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
        return length is None or file.tell() - start == int(length)


def checked(path: str, sha256: str, name: str) -> None:
    """TemplateError unless the file hashes to that."""
    import hashlib

    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 and found != sha256.lower():
        raise TemplateError(
            f"{name}: sha256 is {found}, not {sha256}",
            hint="it was changed, or the checksum is of another version; it has not been used",
        )


def plain(path: str, fd: int, *, name: str, env: dict[str, str]) -> None:
    """Write the plain tar file that a file is, under its compression, to a descriptor."""
    import shutil
    import zlib

    with open(path, "rb") as file:
        head = file.read(8)
    kind = next((kind for magic, kind in _MAGICS if head.startswith(magic)), "")
    if kind == "zstd":
        hint = "install zstd"
        run(["zstd", "-d", "-q", "-c", "--", path], env, what=name, stdout=fd, hint=hint)
        return
    opener: Any = __import__(kind).open if kind else open
    problems: tuple[type[Exception], ...] = (EOFError, zlib.error)
    if kind == "lzma":
        problems += (__import__("lzma").LZMAError,)
    try:
        with opener(path, "rb") as source, os.fdopen(fd, "wb", closefd=False) as target:
            shutil.copyfileobj(source, target, _CHUNK)
    except problems as error:
        raise TemplateError(f"{name}: broken {kind} file: {error}", hint="it is incomplete or damaged") from None
    except OSError as error:
        if error.errno is None:  # gzip.BadGzipFile and its like
            raise TemplateError(f"{name}: broken {kind} file: {error}", hint="it is incomplete or damaged") from None
        raise KernelError.from_os("write", error, path=name) from None


def local(source: Source) -> str:
    """The path of a local source; NotFound where nothing is."""
    path = os.path.abspath(source.path)
    if not os.path.isfile(path):
        raise NotFound(f"{path}: no such file", hint="the path of a tar file is expected")
    return path

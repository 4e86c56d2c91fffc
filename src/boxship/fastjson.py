# SPDX-License-Identifier: Apache-2.0
"""JSON without the import of ``json``, which pulls in ``re`` and costs 4–5 ms of every start.

CPython's own C scanner and string encoder are used directly; where they are not as expected, and whenever a
document is refused, ``json`` is imported after all: for the exact place of the error.
"""

from __future__ import annotations

from boxship.errors import SpecError

_SPACE = " \t\n\r"


class _Context:
    """What ``_json.make_scanner`` reads its settings from."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}

    @staticmethod
    def parse_constant(name: str) -> None:
        raise ValueError(f"{name} is not JSON")


def loads(data: bytes | str) -> object:
    """The value of a JSON document; SpecError names line and column of what is malformed."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError("$", f"malformed JSON: byte {error.start} is not UTF-8") from None
    try:
        from _json import make_scanner
    except ImportError:
        return _slow(text)
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = make_scanner(_Context)(text, start)  # type: ignore[arg-type]
    except RecursionError:
        raise SpecError("$", "malformed JSON: nested too deeply") from None
    except (StopIteration, ValueError, SystemError):  # the scanner finds no exception class before json is imported
        return _slow(text)
    return value if not text[end:].strip(_SPACE) else _slow(text)


def _slow(text: str) -> object:
    import json

    try:
        return json.loads(text, parse_constant=_Context.parse_constant)
    except json.JSONDecodeError as error:
        raise SpecError("$", f"malformed JSON at line {error.lineno} column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise SpecError("$", "malformed JSON: nested too deeply") from None
    except ValueError as error:
        raise SpecError("$", f"malformed JSON: {error}") from None


def dumps(value: object, indent: int | None = None) -> str:
    """The JSON text of plain values: dict, list, tuple, str, int, float, bool, None."""
    if indent is not None:
        return _write(value, indent, "\n")
    from _json import encode_basestring, encode_basestring_ascii, make_encoder

    for string in (encode_basestring, encode_basestring_ascii):
        text = "".join(make_encoder(None, _refuse, string, None, ":", ",", False, False, False)(value, 0))
        try:
            text.encode()
        except UnicodeEncodeError:  # lone surrogates, from file names that are not UTF-8: escaped in the second round
            continue
        return text
    raise ValueError("a string that has no JSON form")


def _refuse(value: object) -> None:
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _write(value: object, indent: int, newline: str) -> str:
    inner = newline + " " * indent
    if isinstance(value, dict):
        items = [f"{dumps(str(k))}: {_write(v, indent, inner)}" for k, v in value.items()]
    elif isinstance(value, (list, tuple)):
        items = [_write(v, indent, inner) for v in value]
    else:
        return dumps(value)
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return opening + (inner + f",{inner}".join(items) + newline if items else "") + closing

# SPDX-License-Identifier: Apache-2.0
"""From parsed JSON to records, and back, by the records' own annotations.

A small grammar of types: ``str``, ``bool``, ``json``, an integer type of ``INTEGERS`` (``uint32`` …), a Record,
``list[T]``, ``dict[str, T]``, and ``T | None``. A value of the wrong type or out of range is a SpecError
with its JSON path. Unknown members are allowed, as the specification demands; null is as good as absent.
"""

from __future__ import annotations

from boxship.errors import SpecError
from boxship.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Decoder = Callable[[Any, str], Any]

INTEGERS = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "uint32": (0, (1 << 32) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint64": (0, (1 << 64) - 1),
    "uint16": (0, 65535),
}
#: Words that snake_case alone does not give back.
_NAMES = {
    "class_": "class",
    "additional_gids": "additionalGids",
    "container_id": "containerID",
    "host_id": "hostID",
    "io_priority": "ioPriority",
    "exec_cpu_affinity": "execCPUAffinity",
    "intel_rdt": "intelRdt",
}

_fields: dict[type, dict[str, tuple[str, Decoder]]] = {}
_types: dict[tuple[str, str], Decoder] = {}


def json_name(field: str) -> str:
    """``no_new_privileges`` → ``noNewPrivileges``."""
    known = _NAMES.get(field)
    if known:
        return known
    head, *rest = field.split("_")
    return head + "".join(word.capitalize() for word in rest)


def decode(cls: type[Record], value: object, path: str = "$") -> Any:
    """A record of ``cls`` from a JSON object."""
    if not isinstance(value, dict):
        raise wrong(path, "an object", value)
    fields = _fields.get(cls) or _describe(cls)
    found = {}
    for key, item in value.items():
        known = fields.get(key)
        if known and item is not None:
            name, decoder = known
            found[name] = decoder(item, f"{path}.{key}")
    try:
        return cls(**found)
    except TypeError as error:
        missing = str(error).partition("missing field ")[2].strip("'")
        raise SpecError(f"{path}.{json_name(missing)}" if missing else path, "missing") from None


def wrong(path: str, wanted: str, value: object) -> SpecError:
    """A SpecError that says what was expected and what is there."""
    kinds = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        float: "a number",
        int: "a number",
    }
    shown = kinds.get(type(value), "null") if isinstance(value, (dict, list)) else repr(value)[:60]
    return SpecError(path, f"expected {wanted}, got {shown}")


def _describe(cls: type[Record]) -> dict[str, tuple[str, Decoder]]:
    described = {}
    for base in reversed(cls.__mro__):
        for name, kind in getattr(base, "__annotations__", {}).items():
            if name in cls.__fields__:
                described[json_name(name)] = (name, _decoder(kind, cls.__module__))
    _fields[cls] = described
    return described


def _decoder(kind: str, module: str) -> Decoder:
    key = (kind, module)
    if key not in _types:
        _types[key] = _make(kind.removesuffix(" | None"), module)
    return _types[key]


def _make(kind: str, module: str) -> Decoder:
    if kind.startswith("list["):
        return _list(_decoder(kind[5:-1], module))
    if kind.startswith("dict[str, "):
        return _dict(_decoder(kind[10:-1], module))
    if kind in INTEGERS:
        return _integer(*INTEGERS[kind])
    simple: dict[str, Decoder] = {"str": _string, "bool": _boolean, "json": _json}
    if kind in simple:
        return simple[kind]
    import sys

    cls = getattr(sys.modules[module], kind)
    return lambda value, path: decode(cls, value, path)


def _string(value: object, path: str) -> object:
    if not isinstance(value, str):
        raise wrong(path, "a string", value)
    if "\0" in value:
        raise SpecError(path, "a NUL character is not allowed")
    if not value.isascii():
        try:
            value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise SpecError(path, "half of a surrogate pair is not a character") from None
    return value


def _boolean(value: object, path: str) -> object:
    if not isinstance(value, bool):
        raise wrong(path, "true or false", value)
    return value


def _json(value: object, _path: str) -> object:
    return value


def _integer(low: int, high: int) -> Decoder:
    def take(value: object, path: str) -> object:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong(path, "a whole number", value)
        if not low <= value <= high:
            raise SpecError(path, f"{value} is out of range: {low} … {high}")
        return value

    return take


def _list(item: Decoder) -> Decoder:
    def take(value: object, path: str) -> object:
        if not isinstance(value, list):
            raise wrong(path, "an array", value)
        return [item(one, f"{path}[{at}]") for at, one in enumerate(value)]

    return take


def _dict(item: Decoder) -> Decoder:
    def take(value: object, path: str) -> object:
        if not isinstance(value, dict):
            raise wrong(path, "an object", value)
        return {_string(key, path): item(one, f"{path}.{key}") for key, one in value.items() if one is not None}

    return take


def encode(value: object) -> object:
    """Back to JSON: defaults are left out, so that what was absent stays absent."""
    if isinstance(value, Record):
        return _encode_record(value)
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    return value


_NO_DEFAULT = object()
_shapes: dict[type, list[tuple[str, str, object, bool]]] = {}


def _encode_record(record: Record) -> dict[str, object]:
    cls, found = type(record), {}
    shape = _shapes.get(cls)
    if shape is None:
        shape = _shapes[cls] = [
            (name, json_name(name), cls.__defaults__.get(name, _NO_DEFAULT), cls.__annotations__[name] in _PLAIN)
            for name in cls.__fields__
        ]
    for name, key, default, plain in shape:
        value = getattr(record, name)
        if default is _NO_DEFAULT or value != default:
            found[key] = value if plain else encode(value)
    return found


#: types whose values are JSON already
_PLAIN = {"str", "bool", "json", "list[str]", "dict[str, str]", *INTEGERS, *(f"{kind} | None" for kind in INTEGERS)}

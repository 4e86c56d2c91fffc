# SPDX-License-Identifier: Apache-2.0
"""Frozen records: what dataclasses give, at a fiftieth of the import time.

``import dataclasses`` pulls in ``inspect`` and costs 8–10 ms, a tenth of what a user waits for
``box run``. A ``Record`` reads its own annotations once, at class creation:

    class Mount(Record):
        target: str
        source: str = ""

Instances are immutable, compare by value, and ``replace`` makes a changed copy. A mutable default
(list, dict) is copied for each instance. Type checkers see a frozen dataclass.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_: object):
        return lambda cls: cls


@dataclass_transform(frozen_default=True, kw_only_default=False)
class RecordType(type):
    """Collects the annotated fields of a class and of its bases, in order."""

    __fields__: tuple[str, ...]
    __setters__: tuple[Any, ...]

    def __new__(mcs, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> RecordType:
        own = [n for n, t in space.get("__annotations__", {}).items() if not str(t).startswith("ClassVar")]
        inherited = [n for b in bases for n in getattr(b, "__fields__", ())]
        defaults = {k: v for b in bases for k, v in getattr(b, "__defaults__", {}).items()}
        defaults.update({n: space.pop(n) for n in own if n in space})
        space["__fields__"] = (*inherited, *(n for n in own if n not in inherited))
        space["__defaults__"] = defaults
        space["__slots__"] = tuple(n for n in own if n not in inherited)
        cls = super().__new__(mcs, name, bases, space)
        cls.__setters__ = tuple(getattr(cls, field).__set__ for field in cls.__fields__)
        return cls


class Record(metaclass=RecordType):
    """Base of every frozen record."""

    __fields__: ClassVar[tuple[str, ...]]
    __defaults__: ClassVar[dict[str, Any]]
    __setters__: ClassVar[tuple[Any, ...]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        fields, defaults, setters = self.__fields__, self.__defaults__, self.__setters__
        if not kwargs and len(args) == len(fields):
            for setter, value in zip(setters, args):
                setter(self, value)
            return
        if len(args) > len(fields):
            raise TypeError(f"{type(self).__name__}: {len(args)} values for {len(fields)} fields")
        values = dict(zip(fields, args))
        for key, value in kwargs.items():
            if key not in fields or key in values:
                raise TypeError(f"{type(self).__name__}: unexpected or repeated field {key!r}")
            values[key] = value
        for name, setter in zip(fields, setters):
            if name in values:
                value = values[name]
            elif name in defaults:
                value = defaults[name]
                if isinstance(value, (list, dict)):
                    value = value.copy()
            else:
                raise TypeError(f"{type(self).__name__}: missing field {name!r}")
            setter(self, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is frozen; use replace()")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is frozen")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, n) == getattr(other, n) for n in self.__fields__)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, n) for n in self.__fields__)))

    def __repr__(self) -> str:
        inside = ", ".join(f"{n}={getattr(self, n)!r}" for n in self.__fields__)
        return f"{type(self).__name__}({inside})"

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed."""
        return type(self)(**{n: getattr(self, n) for n in self.__fields__} | changes)

    def as_dict(self) -> dict[str, Any]:
        """Field names and values, one level deep, in the order of declaration."""
        return {n: getattr(self, n) for n in self.__fields__}

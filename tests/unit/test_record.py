# SPDX-License-Identifier: Apache-2.0
"""Records behave as frozen dataclasses do."""

from __future__ import annotations

import pytest

from boxship.record import Record


class Point(Record):
    x: int
    y: int = 0
    tags: list[str] = []


class Named(Point):
    name: str = ""


def test_fields_defaults_and_inheritance():
    assert Point(1).as_dict() == {"x": 1, "y": 0, "tags": []}
    assert Named(1, name="a") == Named(1, 0, [], "a")
    assert Named(1) != Point(1)


def test_mutable_defaults_are_not_shared():
    first = Point(1)
    first.tags.append("a")
    assert Point(1).tags == []


def test_frozen_and_replace():
    point = Point(1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2  # type: ignore[misc]
    assert point.replace(y=5) == Point(1, 5)
    assert point.y == 0


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2, 3, 4), {}), ((1,), {"x": 1}), ((1,), {"z": 1})])
def test_wrong_construction(args, kwargs):
    with pytest.raises(TypeError):
        Point(*args, **kwargs)

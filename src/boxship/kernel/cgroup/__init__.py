# SPDX-License-Identifier: Apache-2.0
"""Control groups, v1, v2 and every mixture of the two, behind one interface. See cgroups(7)."""

from __future__ import annotations

from boxship.kernel.cgroup.group import Group
from boxship.kernel.cgroup.locate import Controller, Layout, locate, parse

__all__ = ["Controller", "Group", "Layout", "locate", "parse"]

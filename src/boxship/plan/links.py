# SPDX-License-Identifier: Apache-2.0
"""rtnetlink(7) messages as bytes: loopback up, and network devices that a container takes over.

boxmon sends them as they are, one by one, and waits for each acknowledgement.
"""

from __future__ import annotations

import struct

from boxship.plan.steps import Netlink
from boxship.plan.words import raw_bytes

RTM_NEWLINK, RTM_NEWADDR = 16, 20
NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL = 1, 4, 0x400, 0x200
IFF_UP = 1
IFLA_IFNAME, IFLA_NET_NS_PID = 3, 19
IFA_ADDRESS, IFA_LOCAL = 1, 2
LOOPBACK_INDEX = 1  # the first device of every network namespace


def message(kind: int, body: bytes, flags: int = 0) -> bytes:
    """One netlink message that asks for an acknowledgement."""
    return struct.pack("<IHHII", 16 + len(body), kind, NLM_F_REQUEST | NLM_F_ACK | flags, 0, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """One rtattr, padded to four bytes."""
    return struct.pack("<HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def link(index: int, *, up: bool, attributes: bytes = b"") -> bytes:
    """RTM_NEWLINK on the device ``index``; 0 when the attributes name it."""
    flags = IFF_UP if up else 0
    return message(RTM_NEWLINK, struct.pack("<BxHiII", 0, 0, index, flags, IFF_UP if up else 0) + attributes)


def loopback() -> Netlink:
    """Bring ``lo`` up."""
    return Netlink(link(LOOPBACK_INDEX, up=True), 0, "lo up")


def move(index: int, name: str) -> Netlink:
    """The monitor moves device ``index`` into the child's network namespace, as ``name``."""
    rename = attribute(IFLA_IFNAME, raw_bytes(name) + b"\0")
    data = link(index, up=False, attributes=rename + attribute(IFLA_NET_NS_PID, struct.pack("<I", 0)))
    return Netlink(data, len(data) - 4, f"move {name} into the container")


def up(name: str) -> Netlink:
    """Bring the device ``name`` up."""
    return Netlink(link(0, up=True, attributes=attribute(IFLA_IFNAME, raw_bytes(name) + b"\0")), 0, f"{name} up")


def address(index: int, family: int, prefix: int, value: bytes) -> bytes:
    """RTM_NEWADDR: a global address of the device ``index``."""
    head = struct.pack("<BBBBi", family, prefix, 0, 0, index)
    body = head + attribute(IFA_LOCAL, value) + attribute(IFA_ADDRESS, value)
    return message(RTM_NEWADDR, body, NLM_F_CREATE | NLM_F_EXCL)

# SPDX-License-Identifier: Apache-2.0
"""Ids of containers: 64 hexadecimal digits as Docker's, of which the first 12 are shown."""

from __future__ import annotations

import os

SHORT = 12


def new_id() -> str:
    """A random id whose short form does not look like a number."""
    while True:
        found = os.urandom(32).hex()
        if not found[:SHORT].isdecimal():
            return found

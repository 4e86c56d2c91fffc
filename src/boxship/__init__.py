# SPDX-License-Identifier: Apache-2.0
"""Boxship: containers for Linux, as a library first."""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["__version__"]

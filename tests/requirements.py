# SPDX-License-Identifier: Apache-2.0
"""Print the pinned requirements of the ``test`` extra, for pip."""

from __future__ import annotations

import pathlib
import tomllib

project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
print(" ".join(project["optional-dependencies"]["test"]))

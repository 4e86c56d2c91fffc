# SPDX-License-Identifier: Apache-2.0
"""``python -m boxship`` is ``box``."""

from __future__ import annotations

import sys

from boxship.cli.main import main

sys.exit(main())

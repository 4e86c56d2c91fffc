# SPDX-License-Identifier: Apache-2.0
"""``box bench``: measured against other engines in one interleaved run; ratios and medians, never a lone time."""

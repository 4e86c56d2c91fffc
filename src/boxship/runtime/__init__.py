# SPDX-License-Identifier: Apache-2.0
"""Effects: plans become processes, directories and cgroups. ``boxc`` is the face of this layer."""

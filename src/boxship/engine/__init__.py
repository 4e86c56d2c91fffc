# SPDX-License-Identifier: Apache-2.0
"""The one way in: what the command line and every program that imports Boxship call."""

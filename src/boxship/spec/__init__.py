# SPDX-License-Identifier: Apache-2.0
"""Typed data only: what was asked for, what the OCI specification says, and whether it makes sense."""

# SPDX-License-Identifier: Apache-2.0
"""Thin wrappers over the kernel, one mechanism a file, named after its man page. No policy lives here."""

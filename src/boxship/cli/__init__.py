# SPDX-License-Identifier: Apache-2.0
"""The ``box`` command: tables of words, and thin functions that call the engine and print."""

# SPDX-License-Identifier: Apache-2.0
"""Registries: which are meant, who we are there, and how images come from them and go to them.

``settings`` (registries.conf) → ``credentials`` (auth.json) → ``auth`` (challenges, tokens) → ``transport`` (tries,
redirects, TLS) → ``client`` and ``upload`` (the verbs of OCI distribution-spec). Only commands
that talk to a registry import it: httpx takes a tenth of a second.
"""

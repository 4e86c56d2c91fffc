# SPDX-License-Identifier: Apache-2.0
"""Pure policy: from a specification to the ordered steps that boxmon takes."""

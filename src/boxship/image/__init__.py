# SPDX-License-Identifier: Apache-2.0
"""Images: what they are made of, where they are kept, how they are built."""

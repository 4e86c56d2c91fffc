# SPDX-License-Identifier: Apache-2.0
"""Building images: the Dockerfile is read, understood and carried out."""

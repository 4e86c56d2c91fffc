# SPDX-License-Identifier: Apache-2.0
"""The sources of boxmon, and the program itself once the package has been built."""

# SPDX-License-Identifier: Apache-2.0
"""Templates: root file systems made on this machine, as one plain tar file each, for ``box run template:debian/12``.

| module       | what                                                                          |
|--------------|-------------------------------------------------------------------------------|
| `recipe`     | recipes by name: built in, the administrator's, the user's; ``find``          |
| `parse`      | one recipe file, read strictly                                                |
| `hostapt`    | mirrors, proxies and checks that the host's apt is configured with            |
| `command`    | the command lines of mmdebstrap, debootstrap and tar; pure                    |
| `work`       | a locked work directory that a later call removes; children                   |
| `fetch`      | downloads that resume, checksums, decompression                               |
| `busybox`    | a root file system of one program                                             |
| `make`       | from recipe to tar file: complete, or not at all                              |
| `cache`      | tar files that have been made, each of them once                              |

Docs: docs/templates.md.
"""

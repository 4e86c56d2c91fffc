# SPDX-License-Identifier: Apache-2.0
"""Where a container's files come from: the machine itself, or the layers of an image.

``choose`` turns the name of an image into layers and completes the request by what the image's configuration says; what
the user said stands. The writable layer of an image's container is on the disk, below the data directory; that of the
host is a tmpfs unless ``--keep`` names a place.
"""

from __future__ import annotations

import os

from boxship.engine.users import in_layers, resolve
from boxship.errors import InvalidRequest
from boxship.kernel import idmap
from boxship.paths import data_root
from boxship.plan.facts import Overlay
from boxship.record import Record
from boxship.runtime import host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.engine.users import Identity
    from boxship.image.store import Image
    from boxship.spec.request import Request

HOST = "host"
#: files that name the network and the machine; an image's own are somebody else's
NETWORK_FILES = ("hosts", "hostname", "resolv.conf")


class Root(Record):
    """A container's lower layers, uppermost first, its user there, and the request with the image's words in it."""

    request: Request
    overlay: Overlay
    user: Identity
    image: str = HOST
    layers: list[str] = []
    #: file system that has to be idmappable for a user namespace of its own
    on: str = "/"


def choose(request: Request, container: str) -> Root:
    """The root of a new container; unpacks what the image has not unpacked yet."""
    if request.image == HOST:
        if not request.args:
            raise InvalidRequest("no command: box run host -- COMMAND", hint="name the program to run after --")
        overlay = Overlay([], host.disks(), upper=request.keep, tmpfs=request.tmpfs_size)
        return Root(request, overlay.replace(lower=["/"]), resolve(request.user))
    return _of_image(request, container)


def _of_image(request: Request, container: str) -> Root:
    from boxship.engine import images
    from boxship.spec.image import complete

    kept = images.store()
    image = images.obtain(kept, request.image, pull=request.pull, platform=request.platform)
    lower = kept.lower_directories(image)
    whole = complete(request, image.config.settings)
    upper = request.keep or writable(container)
    return Root(
        whole,
        Overlay(lower, upper=upper),
        in_layers(whole.user, lower),
        image=_shown(image),
        layers=image.config.diff_ids,
        on=kept.layers.root,
    )


def _shown(image: Image) -> str:
    return image.name or image.id


def writable(container: str) -> str:
    """The directory of a container's writable layer."""
    return f"{data_root()}/containers/{container}"


def prepare(root: Root, container: str) -> str:
    """Make the writable layer's directory; returns it, or nothing when the container has none of its own."""
    path = writable(container)
    if root.overlay.upper != path:
        return ""
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def write_network_files(root: Root, directory: str, name: str) -> None:
    """/etc/hosts, hostname and resolv.conf of an image's container; the host keeps its own."""
    if root.image == HOST:
        return
    own = root.request.hostname or name
    texts = {
        "hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" + f"127.0.1.1\t{own}\n",
        "hostname": f"{own}\n",
        "resolv.conf": _resolvers() if root.request.network == "host" else "",
    }
    for file, text in texts.items():
        with open(f"{directory}/{file}", "x", encoding="utf-8") as out:
            out.write(text)
        os.chmod(f"{directory}/{file}", 0o644)


def _resolvers() -> str:
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)
    except FileNotFoundError:
        return ""


def idmappable(root: Root) -> bool:
    """Whether the layers can be seen through a user namespace's ids."""
    return idmap.can_be_idmapped(root.on, host.kernel_version())

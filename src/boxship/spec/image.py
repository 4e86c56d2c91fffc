# SPDX-License-Identifier: Apache-2.0
"""An image's configuration into a request: what the user did not say, the image says. See image-spec, 'Conversion to OCI
Runtime Configuration', and what ``docker run`` does. Pure."""

from __future__ import annotations

from boxship.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from boxship.spec.request import Request


def complete(request: Request, settings: Mapping[str, Any]) -> Request:
    """The request with the image's command, environment, directory, user and stop signal where it has none of its own."""
    own_entrypoint = request.entrypoint is not None
    entrypoint = list(request.entrypoint or []) if own_entrypoint else list(settings.get("Entrypoint") or [])
    # An entrypoint of the user's makes the image's arguments meaningless.
    arguments = list(request.args) or ([] if own_entrypoint else list(settings.get("Cmd") or []))
    words = [*entrypoint, *arguments]
    if not words:
        raise InvalidRequest(
            f"image {request.image}: names no command, and none was given", hint=f"box run {request.image} COMMAND"
        )
    return request.replace(
        args=words,
        env=[*(settings.get("Env") or []), *request.env],
        workdir=request.workdir or settings.get("WorkingDir") or "/",
        user=request.user or settings.get("User") or "",
        stop_signal=request.stop_signal or settings.get("StopSignal") or "TERM",
    )

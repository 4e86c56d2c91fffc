# SPDX-License-Identifier: Apache-2.0
"""poststart and poststop hooks: run by Python in the runtime's namespaces, after start and after delete."""

from __future__ import annotations

from boxship import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from boxship.spec.oci import Hook


def run_hook(hook: Hook, kind: str, document: dict[str, object]) -> str:
    """Run one hook with the state on its standard input; returns why it failed, or an empty string."""
    import subprocess

    argv = list(hook.args) or [hook.path]
    env = None if hook.env is None else dict(word.partition("=")[::2] for word in hook.env)
    try:
        done = subprocess.run(
            argv,
            executable=hook.path,
            env=env,
            input=fastjson.dumps(document).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=hook.timeout or None,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{kind} hook {hook.path}: timed out after {hook.timeout} s and was killed"
    except OSError as error:
        return f"{kind} hook {hook.path}: {error.strerror}"
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        return f"{kind} hook {hook.path}: exit status {done.returncode}" + (f": {said}" if said else "")
    return ""

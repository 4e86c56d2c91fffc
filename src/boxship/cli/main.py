# SPDX-License-Identifier: Apache-2.0
"""Entry of ``box``: parse, dispatch, tell errors in one line."""

from __future__ import annotations

import os
import sys

from boxship import args, console, errors
from boxship.cli.tables import BOX


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: the container's, or 125, 126, 127 as Docker's."""
    try:
        console.standard_streams()
        code = _command(sys.argv[1:] if argv is None else argv)
        console.flush()
        return code
    except errors.BoxshipError as error:
        return tell(error)
    except BrokenPipeError:
        # Whoever read our output has gone: as quiet as any other program in a pipeline.
        console.drop_output()
        return 141
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get("BOXSHIP_DEBUG"):
            raise
        sys.stderr.write(
            f"box: internal error: {type(error).__name__}: {error}\nhint: BOXSHIP_DEBUG=1 shows the traceback\n"
        )
        return 125


def _command(argv: list[str]) -> int:
    argv = ["version"] if argv in (["--version"], ["-v"]) else argv
    parsed = args.parse(BOX, argv)
    if parsed.help:
        sys.stdout.write(args.help_text(parsed.words, parsed.command))
        return 0
    return args.call(parsed)


def tell(error: errors.BoxshipError) -> int:
    """One line, a hint, and what went wrong while cleaning up."""
    if os.environ.get("BOXSHIP_DEBUG"):
        import traceback

        traceback.print_exc()
    sys.stderr.write(f"box: {error.render()}\n")
    for note in getattr(error, "__notes__", ()):
        sys.stderr.write(f"box: {note}\n")
    return error.exit_code

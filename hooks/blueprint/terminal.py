"""Messages on a terminal of whatever encoding."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from blueprint.errors import BlueprintError


def refuse(error: BlueprintError) -> int:
    """Print why nothing was baked and return the exit code."""
    show(f"\n{error}\n", sys.stderr)
    return 1


def say(text: str) -> None:
    """Print `text`."""
    show(text, sys.stdout)


def show(text: str, stream: TextIO | None) -> None:
    """Print `text` on `stream`; characters that it cannot show are escaped.

    A closed stream, or a pipe that ended, is no failure.
    """
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except OSError:
        # Python writes what is left when it ends, and would fail then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

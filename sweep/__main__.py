"""Entry point of `python -m sweep` and `sweep`; handles Ctrl-C and SIGTERM during imports too."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> int:
    try:
        from sweep.core.interrupt import interrupt_on_hang_up

        interrupt_on_hang_up()
        from sweep.cli.main import main as command_line

        return command_line(sys.argv[1:])
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    raise SystemExit(main())

"""The command line: `python -m helpers.runs`."""

import sys
from typing import Any

import helpers.runs
from helpers.runs.forks import choose, fork


def main(arguments: list[str]) -> int:
    """0 when it did what the command says."""
    try:
        match arguments:
            case ["choose", name]:
                choose(name)
            case ["fork", old, new, *settings] if all("=" in setting for setting in settings):
                changes: dict[str, Any] = dict(setting.split("=", 1) for setting in settings)
                fork(old, new, **changes)
            case _:
                usage = helpers.runs.__doc__ or ""
                print(usage[usage.index(".venv/bin/python -m") :], file=sys.stderr)
                return 2
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

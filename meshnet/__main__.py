"""`python -m meshnet`: the daemon when the first argument is `meshnetd`, else the command line.

Rule: neither imports what only the other needs, so a command answers at once.
"""

import sys


def main() -> int:
    """Run what the arguments name and return the exit code."""
    if sys.argv[1:2] == ["meshnetd"]:
        from meshnet.daemon import main as daemon

        return daemon(sys.argv[2:])
    from meshnet.cli.main import main as command_line

    return command_line()


if __name__ == "__main__":
    sys.exit(main())

"""The command `pintensor`, which lies in this package and finds the preload beside itself."""

import os
import sys


def main():
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "pintensor")
    try:
        os.execv(program, ["pintensor", *sys.argv[1:]])
    except OSError as error:
        sys.exit(f"pintensor: {program} cannot be run: {error.strerror}; install the wheel again")


if __name__ == "__main__":
    main()

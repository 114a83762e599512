"""Starts stand-in phones by hand: ``python -m android_phone --phones 3``."""

import argparse
import signal
import sys

from android_phone.identities import IDENTITIES
from android_phone.lab import lab
from android_phone.needs import NoPhone


def main() -> None:
    """Run a lab until it is interrupted."""
    parser = argparse.ArgumentParser(prog="android_phone", description=__doc__)
    parser.add_argument("--phones", type=int, default=2, help="how many, of every kind in turn")
    parser.add_argument(
        "--identity", action="append", choices=list(IDENTITIES), help="of this kind"
    )
    arguments = parser.parse_args()
    kinds = list(IDENTITIES)
    names = arguments.identity or [kinds[each % len(kinds)] for each in range(arguments.phones)]
    for end in (signal.SIGINT, signal.SIGTERM):
        # A shell has programs that it starts in the background ignore the first.
        signal.signal(end, signal.default_int_handler)
    try:
        with lab(names) as started:
            _say(f"export ANDROID_ADB_SERVER_PORT={started.server_port}")
            for phone in started.phones:
                _say(f"{phone.address} {phone.name}")
            _say("until Ctrl-C")
            signal.pause()
    except NoPhone as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Starts stand-in iPhones by hand: ``python -m iphone_phone --phones 2``."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from iphone_phone.identities import IDENTITIES
from iphone_phone.lab import lab
from iphone_phone.owned import NoPhone
from iphone_phone.packages import write_package
from iphone_phone.reference_app import reference_app


def main() -> None:
    """Run a lab until it is interrupted."""
    parser = argparse.ArgumentParser(prog="iphone_phone", description=__doc__)
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
        with lab(names) as started, tempfile.TemporaryDirectory() as folder:
            for name, value in started.variables.items():
                _say(f"export {name}={value}")
            for phone in started.phones:
                _say(
                    f"{phone.udid} {phone.identity.marketing_name} {phone.identity.system.version}"
                )
                package = Path(folder) / f"{phone.udid}.ipa"
                write_package(package, reference_app(), [phone.udid])
                _say(f"make hw-ios UDID={phone.udid} APP={package}")
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

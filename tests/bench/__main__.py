"""``python -m tests.bench [PART…]``: run the measurements, or the parts named."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from tests.bench import agi, ami, rooms, xmpp

PARTS: dict[str, Callable[[], None]] = {"agi": agi.main, "ami": ami.main, "rooms": rooms.main, "xmpp": xmpp.main}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure side by side.")
    parser.add_argument("part", nargs="*", help=f"what to measure: {', '.join(PARTS)}; without it, everything")
    names = parser.parse_args().part or list(PARTS)
    if unknown := set(names) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
    for name in names:
        PARTS[name]()


if __name__ == "__main__":
    main()

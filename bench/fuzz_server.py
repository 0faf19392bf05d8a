"""Send mutated bodies to every route of a server, and look at each reply."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fuzz import fuzzed
from report import note


def main() -> None:
    """Exit code 1 if a reply was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--bodies", type=int, default=20_000)
    parser.add_argument("-s", "--seed", type=int, default=0)
    parser.add_argument("-j", "--threads", type=int, default=4)
    args = parser.parse_args()
    with fuzzed(args.bodies, args.seed, args.threads) as (fuzz, server):
        assert server.ask("/health").status == 200
    for status, path, body, said in fuzz.faults[:20]:
        note(f"{status} {path}\n  {body[:300]!r}\n  {said[:300]!r}")
    ms = [seconds * 1000 for seconds in sorted(fuzz.seconds)]
    print(f"{len(ms)} bodies: {dict(sorted(fuzz.statuses.items()))}, {len(fuzz.faults)} faults")
    print(
        f"p50 {ms[len(ms) // 2]:.1f} ms, p99 {ms[len(ms) * 99 // 100]:.1f} ms, {ms[-1]:.0f} at most"
    )
    raise SystemExit(bool(fuzz.faults))


if __name__ == "__main__":
    main()

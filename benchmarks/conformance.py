"""Wall time of `adbench check-method` in fresh processes, each method with its defaults: a minute is what it may take.

    python benchmarks/conformance.py [--methods madclip,clip] [--repeat 3]

Run it with nothing else running: on two cores a foreign process makes threaded code several times slower.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

from adbench.plugins import registry

MOST = 60.0


def timed(name: str) -> tuple[str, float]:
    """Examine a method once; return `20 of 20`, the checks passed, and wall seconds."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "adbench", "check-method", name]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "ADBENCH_CACHE": cache})
        wall = time.perf_counter() - start
    passed = re.search(r"^(\d+ of \d+) checks passed$", done.stdout, re.MULTILINE)
    if passed is None:
        raise SystemExit(f"check-method {name} ended without a result:\n{done.stdout}{done.stderr}")
    return passed[1], wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default=",".join(sorted(registry.entries("method"))))
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    print("| adbench check-method | checks passed | wall s |\n|---|---|---|")
    late, failed = [], []
    for name in options.methods.split(","):
        found = [timed(name) for _ in range(options.repeat)]
        passed, wall = min(found, key=lambda one: one[1])
        print(f"| {name} | {passed} | {wall:.1f} |", flush=True)
        late += [name] if wall > MOST else []
        failed += [name] if len(set(passed.split(" of "))) > 1 else []
    print(f"\nbest of {options.repeat}; longer than {MOST:g} s: {', '.join(late) or 'none'}")
    if failed:
        raise SystemExit(f"checks failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()

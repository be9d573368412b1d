#!/usr/bin/env python3
"""Line and branch coverage of native and managed code, held against the floor in coverage.json.

    python3 tests/coverage.py [--raise] [--missed] native=FOLDER managed=FILE...

FOLDER is a build with the preset "coverage" whose tests have run, FILE a Cobertura report of dotnet test. A line counts as run
where any of the tests ran it, a branch of the exceptions that C++ might throw does not count at all. The exit code is 1 where a
figure is below its floor. --raise writes the figures into coverage.json where they are above it; nothing lowers a floor but an
editor. --missed lists what nothing ran.
"""

import itertools
import json
import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as tree

TESTS = os.path.dirname(os.path.realpath(__file__))
FLOORS = os.path.join(TESTS, "coverage.json")
NATIVE = os.path.join(os.path.dirname(TESTS), "native", "src", "")
# Which instruction sets a machine has and how threads take turns moves the figures a little.
MARGIN = 0.5


def read_gcov(folder):
    """The lines of native/src: {(file, line): (run, [taken, ...])}, a number for each branch."""
    objects = [
        os.path.join(path, name)
        for path, _, names in os.walk(os.path.join(folder, "native"))
        for name in names
        if name.endswith(".gcda")
    ]
    gcov = subprocess.run(
        ["gcov", "--json-format", "--stdout", "--branch-probabilities", *objects], stdout=subprocess.PIPE, check=True)
    lines = {}
    for text in gcov.stdout.decode().splitlines():
        unit = json.loads(text)
        for source in unit["files"]:
            path = os.path.realpath(os.path.join(unit["current_working_directory"], source["file"]))
            if not path.startswith(NATIVE):
                continue
            # A line of a template or a header comes once for each instance.
            for line in source["lines"]:
                branches = [branch["count"] > 0 for branch in line["branches"] if not branch["throw"]]
                add(lines, (path, line["line_number"]), line["count"] > 0, branches)
    return lines


def read_cobertura(files):
    """The same of C#, where reports tell no more than how many of a line's branches were taken."""
    lines = {}
    for file in files:
        root = tree.parse(file).getroot()
        sources = [source.text or "" for source in root.iter("source")]
        for unit in root.iter("class"):
            # Names are relative to one of the source folders, another one in each report.
            name = unit.get("filename")
            name = next((path for path in (os.path.join(source, name) for source in sources) if os.path.exists(path)), name)
            for line in unit.iter("line"):
                counts = re.search(r"\((\d+)/(\d+)\)", line.get("condition-coverage", ""))
                taken, branches = (int(counts[1]), int(counts[2])) if counts else (0, 0)
                key = (os.path.realpath(name), int(line.get("number")))
                add(lines, key, int(line.get("hits")) > 0, [i < taken for i in range(branches)])
    return lines


def add(lines, key, run, branches):
    run_before, branches_before = lines.get(key, (False, []))
    lines[key] = (
        run or run_before, [a or b for a, b in itertools.zip_longest(branches, branches_before, fillvalue=False)])


def figures(lines):
    branches = [taken for _, line in lines.values() for taken in line]
    return {"lines": (sum(run for run, _ in lines.values()), len(lines)), "branches": (sum(branches), len(branches))}


def main(arguments):
    options = [argument for argument in arguments if argument.startswith("--")]
    reports = {}
    for argument in arguments:
        if argument not in options:
            kind, _, file = argument.partition("=")
            reports.setdefault(kind, []).append(file)
    if not reports or set(options) - {"--raise", "--missed"} or set(reports) - {"native", "managed"}:
        sys.exit(__doc__)
    with open(FLOORS, encoding="utf-8") as file:
        floors = json.load(file)
    below = False
    for kind, files in sorted(reports.items()):
        lines = read_cobertura(files) if kind == "managed" else read_gcov(files[0])
        for what, (done, total) in figures(lines).items():
            if total == 0:
                sys.exit(f"{kind}: no {what} in {', '.join(files)}")
            percent = 100 * done / total
            floor = floors[kind][what]
            verdict = "" if percent >= floor else ": BELOW THE FLOOR"
            below = below or percent < floor
            print(f"coverage, {kind} {what}: {percent:.1f} % ({done} of {total}), floor {floor} %{verdict}")
            floors[kind][what] = max(floor, math.floor(10 * (percent - MARGIN)) / 10)
        if "--missed" in options:
            show_missed(lines)
    if "--raise" in options:
        with open(FLOORS, "w", encoding="utf-8") as file:
            json.dump(floors, file, indent=2)
            file.write("\n")
    return 1 if below else 0


def show_missed(lines):
    missed = {}
    for (file, line), (run, _) in lines.items():
        if not run:
            missed.setdefault(file, []).append(line)
    for file, numbers in sorted(missed.items(), key=lambda item: -len(item[1])):
        print(f"  {os.path.relpath(file)}: {', '.join(map(str, sorted(numbers)))}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

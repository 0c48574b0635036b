"""How much of the code the tests of a coverage build ran: lines by folder, and in all.

usage: coverage.py SOURCE_DIR BUILD_DIR. Reads what gcov says of every object that ran or was built
there; a file compiled twice counts once, a line as run when either copy ran it."""
import json
import os
import subprocess
import sys
from collections import defaultdict

FOLDERS = ("daemon", "workloads", "allocators", "schema")


def objects(build):
    """Every object with coverage notes."""
    for root, _, names in os.walk(build):
        for name in names:
            if name.endswith(".gcno"):
                yield os.path.join(root, name)


def lines_of(source, build):
    """Of each file: line number to whether it ran."""
    found = defaultdict(lambda: defaultdict(bool))
    todo = sorted(objects(build))
    for first in range(0, len(todo), 50):
        done = subprocess.run(["gcov", "--json-format", "--stdout", *todo[first:first + 50]],
                              cwd=build, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, check=False)
        for document in done.stdout.splitlines():
            for file in json.loads(document)["files"] if document.startswith("{") else ():
                path = os.path.relpath(os.path.join(build, file["file"]), source)
                if path.split(os.sep)[0] in FOLDERS:
                    for line in file["lines"]:
                        found[path][line["line_number"]] |= line["count"] > 0
    return found


def row(name, lines):
    ran = sum(lines)
    print(f"{name:<24} {len(lines):>7} {ran:>7} {100 * ran / len(lines):>6.1f}%")


def main(source, build):
    folders = defaultdict(list)
    for path, lines in lines_of(source, build).items():
        folders[os.path.dirname(path)] += lines.values()
    everything = [ran for lines in folders.values() for ran in lines]
    if not any(everything):
        sys.exit("coverage: nothing ran: build the coverage preset and run its tests")
    print(f"{'folder':<24} {'lines':>7} {'run':>7} {'share':>7}")
    for name in sorted(folders):
        row(name, folders[name])
    row("all", everything)


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]))

#!/usr/bin/env python3
"""Size limits of the C code: file <= 600 lines, function <= 70, nesting <= 4, line <= 100.

Functions are found by universal-ctags. Nesting is read from the indentation, which clang-format
(checked beside this) guarantees: a control statement indented by more than 4 levels is too deep.
Exceptions stand in exceptions.txt with their reason; one that is no longer needed, or that could
be lower, is an error, so the list only shrinks.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

FILE_LINES = 600
FUNCTION_LINES = 70
NESTING = 4
COLUMNS = 100
INDENT = 4
CONTROL = re.compile(r"^( +)(if|for|while|do|switch)\b")
HERE = Path(__file__).resolve().parent


def sources():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", "*.c", "*.h"],
                         check=True, capture_output=True, text=True).stdout
    return [Path(line) for line in out.splitlines() if Path(line).is_file()]


def read_exceptions(path):
    """kind file[:function] ceiling  # why"""
    found = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        body, _, why = line.partition("#")
        if not body.strip():
            continue
        kind, what, ceiling = body.split()
        if not why.strip():
            sys.exit(f"{path}:{number}: an exception needs its reason after #")
        found[kind, what] = int(ceiling)
    return found


def function_sizes(files):
    command = ["ctags", "--languages=C", "--kinds-C=f", "--fields=+ne", "--output-format=json",
               "-o", "-", "-L", "-"]
    out = subprocess.run(command, input="\n".join(map(str, files)), check=True,
                         capture_output=True, text=True).stdout
    for line in out.splitlines():
        tag = json.loads(line)
        if "end" in tag:
            yield tag["path"], tag["name"], tag["end"] - tag["line"] + 1


def deepest(lines):
    depth = 0
    for line in lines:
        match = CONTROL.match(line)
        if match:
            depth = max(depth, len(match[1]) // INDENT)
    return depth


def measure(files):
    """(kind, what, value, limit) of everything over its limit."""
    for path in files:
        lines = path.read_text().splitlines()
        for kind, value, limit in (("file", len(lines), FILE_LINES),
                                   ("nesting", deepest(lines), NESTING),
                                   ("columns", max(map(len, lines), default=0), COLUMNS)):
            if value > limit:
                yield kind, str(path), value, limit
    for path, name, size in function_sizes(files):
        if size > FUNCTION_LINES:
            yield "function", f"{path}:{name}", size, FUNCTION_LINES


def main():
    files = sources()
    if not files:
        sys.exit("limits: no C files found")
    allowed = read_exceptions(HERE / "exceptions.txt")
    faults = []
    seen = set()
    for kind, what, value, limit in measure(files):
        ceiling = allowed.get((kind, what))
        seen.add((kind, what))
        if ceiling is None:
            faults.append(f"{what}: {kind} {value}, limit {limit}")
        elif value != ceiling:
            word = "grew" if value > ceiling else "shrank: lower its ceiling"
            faults.append(f"{what}: {kind} {value}, exception says {ceiling}: it {word}")
    faults += [f"{what}: the exception for its {kind} is no longer needed"
               for kind, what in allowed if (kind, what) not in seen]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

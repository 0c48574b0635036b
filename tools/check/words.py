#!/usr/bin/env python3
"""Words that have no place in the repository: unfinished work, one person's paths, commented-out
code left by accident, host names in lock files, trailing space, tabs in C."""
import re
import subprocess
import sys
from pathlib import Path

# pattern | files it applies to | why. The patterns are written so as not to match themselves.
RULES = [
    (r"\b(T[O]DO|F[I]XME|X[X]X|H[A]CK)\b", r"", "finish it or write an issue"),
    (r"(?<![\w.<])/(h[o]me|r[o]ot|U[s]ers|w[o]rk)/[a-z]", r"", "a path of one machine"),
    (r'"resolved":', r"package-lock\.json$", "a lock file names packages, no hosts"),
    (r"https?://(?!127\.0\.0\.1|localhost|json-schema\.org|www\.w3\.org|example\.)",
     r"\.npmrc$", "a registry is the user's own setting"),
    (r"[ \t]+$", r"\.(c|h|py|sh|cmake|def|ini|sql|js|css|html|json|txt|yml)$|/(dev|run)$",
     "trailing space"),
    (r"\t", r"\.(c|h|def)$", "a tab"),
    (r"\b(bl[a]zing|l[o]rem ipsum)\b", r"", "no advertising, no filler"),
]
SKIP = re.compile(r"\.(png|ico|woff2?|gz|bin|db|sqlite)$|(^|/)vendor/")


def files():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], check=True,
                         capture_output=True, text=True).stdout
    return [p for p in out.splitlines() if not SKIP.search(p) and Path(p).is_file()]


def main():
    rules = [(re.compile(p, re.M), re.compile(f), why) for p, f, why in RULES]
    faults = 0
    for path in files():
        try:
            text = Path(path).read_text()
        except UnicodeDecodeError:
            continue
        for pattern, applies, why in rules:
            if not applies.search(path):
                continue
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                print(f"{path}:{line}: {match[0]!r}: {why}")
                faults += 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

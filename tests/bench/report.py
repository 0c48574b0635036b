"""The report of benchmarks written in Python; the same form as report.h's: the machine, values with
their spread, and one "target: WHAT: VALUE OP BOUND: met|missed" per target, or all of it as JSON."""

import json
import os
import platform
import statistics
import sys


def machine():
    name = platform.machine()
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return f"{name}, {os.cpu_count()} CPUs, Linux {platform.release()}"


def fail(bench, text):
    """Could not measure: the only way a benchmark fails."""
    print(f"{bench}: could not measure: {text}", file=sys.stderr)
    sys.exit(1)


class Report:
    def __init__(self, bench, as_json):
        self.bench, self.as_json = bench, as_json
        self.values, self.targets = [], []
        if not as_json:
            print(f"{bench} on {machine()}")

    def say(self, text):
        if not self.as_json:
            print(text)

    def value(self, what, unit, values, spread=None):
        """Median and range of a list of numbers; returns the median."""
        row = {"what": what, "unit": unit, "median": statistics.median(values),
               "low": min(values), "high": max(values),
               "spread": spread or f"min-max of {len(values)} runs"}
        self.values.append(row)
        self.say(f"  {what:52} {row['median']:10.4g} {unit:10} [{row['low']:.4g}, {row['high']:.4g}]"
                 f" {row['spread']}")
        return row["median"]

    def target(self, what, value, op, bound):
        met = value <= bound if op == "<=" else value >= bound
        self.targets.append({"what": what, "value": value, "op": op, "bound": bound, "met": met})

    def end(self):
        if self.as_json:
            print(json.dumps({"bench": self.bench, "machine": machine(), "values": self.values,
                              "targets": self.targets}, indent=2))
            return
        for t in self.targets:
            print(f"target: {t['what']}: {t['value']:.4g} {t['op']} {t['bound']:.4g}: "
                  f"{'met' if t['met'] else 'missed'}")

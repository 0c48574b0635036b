#!/usr/bin/env python3
"""What heapmarkd itself costs: asleep, and beside a running trial with and without clients watching.

Idle: voluntary context switches of every thread of daemon and supervisor over ten seconds, and
resident memory after a finished job. Effect: the same job in turns without clients, and with SSE
clients following it and a client reading its results ten times a second; the ratio of the
reference's time per pair, beside the A/A noise of the very same jobs."""

import argparse
import math
import os
import statistics
import sys
import threading
import time

SOURCE = os.environ.get("HEAPMARK_SOURCE_DIR",
                        os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
os.environ.setdefault("HEAPMARK_BUILD_DIR", os.path.join(SOURCE, "build/release"))
sys.path.insert(0, os.path.join(SOURCE, "tests/lib"))
import heapmarkd  # noqa: E402
from report import Report, fail  # noqa: E402

IDLE_S = 10
PAIRS = 6
CLIENTS = 20


def job(seed):
    return {
        "allocators": ["glibc", "mimalloc"], "reference": "glibc", "seed": seed,
        "workloads": [{"workload": "table-churn", "threads": 1,
                       "params": {"live": 10000, "remote_pct": 0}}],
        "repeat": {"rings": 10, "rotations": 40, "warm_pct": 25},
    }


def switches(pids):
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status") as f:
                total += sum(int(line.split()[1]) for line in f
                             if line.startswith("voluntary_ctxt_switches"))
    return total


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


class Clients:
    """Follow a job as browsers would."""

    def __init__(self, daemon, job_id):
        self.daemon, self.job_id, self.stop = daemon, job_id, False
        self.threads = [threading.Thread(target=self.follow) for _ in range(CLIENTS)]
        self.threads.append(threading.Thread(target=self.poll))
        for t in self.threads:
            t.start()

    def follow(self):
        self.daemon.get(f"/api/v1/jobs/{self.job_id}/events")

    def poll(self):
        while not self.stop:
            self.daemon.get(f"/api/v1/jobs/{self.job_id}/results")
            time.sleep(0.1)

    def end(self):
        self.stop = True
        for t in self.threads:
            t.join()


def measure(daemon, seed, watched):
    """Time of a pair of the reference, and the A/A noise of its rings, as logarithms."""
    job_id = daemon.submit(job(seed))
    clients = Clients(daemon, job_id) if watched else None
    found = daemon.wait(job_id, 300)
    if clients:
        clients.end()
    if found["state"] != "succeeded":
        fail("daemon", f"a job {found['state']}: {found['error']}")
    cells = daemon.get(f"/api/v1/jobs/{job_id}/cells").json["items"]
    summary = next(c for c in cells if c["allocator"] == "glibc")["summaries"]["ns_per_pair"]
    return math.log(summary["value"]), summary["noise"]


def idle(daemon, report):
    family = [daemon.process.pid] + [p for p, _ in heapmarkd.children(daemon.process.pid)]
    time.sleep(2)
    before = switches(family)
    time.sleep(IDLE_S)
    rate = (switches(family) - before) / IDLE_S
    resident = resident_mib(daemon.process.pid)
    report.value("idle wake-ups, daemon and supervisor", "1/s", [rate], f"over {IDLE_S} s")
    report.value("resident memory of heapmarkd after jobs", "MiB", [resident], "once")
    return rate, resident


def main():
    parser = argparse.ArgumentParser(prog="./dev bench daemon", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    report = Report("daemon", args.json)
    with heapmarkd.Heapmarkd(["log.level=warning"]) as daemon:
        alone, watched, noises = [], [], []
        for i in range(PAIRS):
            for with_clients in (False, True) if i % 2 == 0 else (True, False):
                ns, noise = measure(daemon, i + 1, with_clients)
                (watched if with_clients else alone).append(ns)
                noises.append(noise)
        rate, resident = idle(daemon, report)
    report.value("time of a pair, nobody watching", "ns", [math.exp(v) for v in alone])
    report.value(f"time of a pair, {CLIENTS} SSE clients and a poller", "ns",
                 [math.exp(v) for v in watched])
    effect = 100 * abs(statistics.median(b - a for a, b in zip(alone, watched)))
    noise = report.value("A/A noise of a job (half interval)", "%", [100 * n for n in noises])
    spread = 100 * statistics.stdev(alone)
    report.value("spread of the job's time with nobody watching (sd)", "%", [spread], "once")
    report.target("idle wake-ups per second", rate, "<=", 1)
    report.target("resident memory in MiB", resident, "<=", 16)
    report.target("effect of watching clients in %, against the noise between jobs", effect, "<=",
                  max(spread, noise))
    report.end()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Requests per second of /version against a bare libmicrohttpd replying a constant of the same
size, 64 connections kept alive, in alternating runs (ABBA); a stored job's GET beside them.

Both servers and the load generator share the machine's CPUs, so only the ratio means something."""

import argparse
import os
import re
import shutil
import subprocess
import sys

SOURCE = os.environ.get("HEAPMARK_SOURCE_DIR",
                        os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BUILD = os.environ.setdefault("HEAPMARK_BUILD_DIR", os.path.join(SOURCE, "build/release"))
os.environ["HEAPMARK_SOURCE_DIR"] = SOURCE
sys.path.insert(0, os.path.join(SOURCE, "tests/api"))
from harness import Server  # noqa: E402
from report import Report, fail  # noqa: E402

CONNECTIONS = 64
TARGET = 0.8


def load(url, seconds):
    """Requests per second; every reply must be a good one."""
    run = subprocess.run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url],
                         capture_output=True, text=True)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", run.stdout)
    if run.returncode or not rate or "Non-2xx" in run.stdout or "Socket errors" in run.stdout:
        fail("api", f"wrk {url}: {run.stdout}{run.stderr}")
    return float(rate.group(1))


def measure(urls, rounds, seconds):
    rates = {name: [] for name in urls}
    for name, url in urls.items():
        load(url, 1)  # warm
    order = list(urls)
    for i in range(rounds):
        for name in order if i % 2 == 0 else reversed(order):
            rates[name].append(load(urls[name], seconds))
    return rates


def main():
    parser = argparse.ArgumentParser(prog="./dev bench api", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=2)
    args = parser.parse_args()
    if not shutil.which("wrk"):
        fail("api", "wrk is not installed (Debian package wrk)")
    server = Server()
    bare = None
    try:
        job = server.submit()
        server.finish(job)
        size = len(server.get("/version").body)
        bare = subprocess.Popen([os.path.join(BUILD, "bench/bare_http"), str(size)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        port = int(bare.stdout.readline().split()[1])
        base = f"http://127.0.0.1:{server.port}"
        urls = {"bare libmicrohttpd": f"http://127.0.0.1:{port}/version",
                "/version": base + "/version", "stored job": f"{base}/api/v1/jobs/{job}"}
        rates = measure(urls, args.rounds, args.seconds)
    finally:
        if bare:
            bare.stdin.close()
            bare.wait(10)
            bare.stdout.close()
        status = server.stop()
        server.remove()
    if status != 0:
        fail("api", f"the server ended with {status}")
    ratios = [a / b for a, b in zip(rates["/version"], rates["bare libmicrohttpd"])]
    print_report(rates, ratios, size, args)


def print_report(rates, ratios, size, args):
    report = Report("api", args.json)
    report.say(f"{CONNECTIONS} connections kept alive, bodies of {size} bytes, alternating runs of "
               f"{args.seconds} s")
    for name, values in rates.items():
        report.value(name, "requests/s", values)
    ratio = report.value("/version / bare", "ratio", ratios)
    report.target("/version against bare libmicrohttpd", ratio, ">=", TARGET)
    report.end()


if __name__ == "__main__":
    main()

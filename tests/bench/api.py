#!/usr/bin/env python3
"""Requests per second of /version against a bare libmicrohttpd replying a constant of the same
size, 64 connections kept alive, in alternating runs (ABBA); a stored job's GET beside them. Then how
long one client waits for the 500 points of a series out of a million stored.

Both servers and the load generator share the machine's CPUs, so of the rates only the ratio means
something. The wait for a series includes the client, which is Python's and on the same CPUs."""

import argparse
import http.client
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

SOURCE = os.environ.get("HEAPMARK_SOURCE_DIR",
                        os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BUILD = os.environ.setdefault("HEAPMARK_BUILD_DIR", os.path.join(SOURCE, "build/release"))
os.environ["HEAPMARK_SOURCE_DIR"] = SOURCE
sys.path.insert(0, os.path.join(SOURCE, "tests/api"))
from harness import Server  # noqa: E402
from report import Report, fail  # noqa: E402

CONNECTIONS = 64
TARGET = 0.8
SERIES, POINTS = 2000, 500  # of ingest.h
SERIES_QUERIES = 1500
SERIES_P99_MS = 5


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


def get_series(connection, series, encoding):
    """Milliseconds from the request to the last byte of the reply, and the reply."""
    begin = time.perf_counter()
    connection.request("GET", f"/api/v1/series/{series}/points",
                       headers={"Accept-Encoding": encoding})
    reply = connection.getresponse()
    body = reply.read()
    ms = (time.perf_counter() - begin) * 1e3
    if reply.status != 200 or reply.headers.get("Content-Encoding", "identity") != encoding:
        fail("api", f"series {series}: {reply.status}, {dict(reply.headers)}")
    return ms, body


def measure_series():
    """Milliseconds by encoding, sorted, and the size of a body as it is."""
    home = tempfile.mkdtemp(prefix="heapmark-bench-",
                            dir=os.environ.get("HEAPMARK_BENCH_DIR", "/var/tmp"))
    server = None
    ms = {"identity": [], "gzip": []}
    try:
        subprocess.run([os.path.join(BUILD, "bench/points"), home], check=True,
                       stdout=subprocess.DEVNULL)
        server = Server(directory=home)
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        chosen = random.Random(1)
        for _ in range(SERIES_QUERIES):
            series = chosen.randint(1, SERIES)
            for encoding, waits in ms.items():
                wait, body = get_series(connection, series, encoding)
                waits.append(wait)
                if encoding == "identity" and len(json.loads(body)["items"]) != POINTS:
                    fail("api", f"series {series}: {body[:200]}")
                size = len(body) if encoding == "identity" else size
        connection.close()
    except (OSError, subprocess.CalledProcessError, RuntimeError) as e:
        fail("api", f"the series of a million points: {e}")
    finally:
        status = server.stop() if server else 0
        if server:
            server.remove()
        shutil.rmtree(home)
    if status != 0:
        fail("api", f"the server of the series ended with {status}")
    return {encoding: sorted(waits) for encoding, waits in ms.items()}, size


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
    print_report(rates, ratios, size, args, *measure_series())


def print_report(rates, ratios, size, args, series, series_bytes):
    report = Report("api", args.json)
    report.say(f"{CONNECTIONS} connections kept alive, bodies of {size} bytes, alternating runs of "
               f"{args.seconds} s")
    for name, values in rates.items():
        report.value(name, "requests/s", values)
    ratio = report.value("/version / bare", "ratio", ratios)
    report.say(f"a series of {POINTS} points out of {SERIES * POINTS}, {series_bytes} bytes; one "
               "client, one connection kept alive")
    for encoding, waits in series.items():
        report.value(f"series, {encoding}", "ms", waits, f"min-max of {len(waits)} requests")
        late = len(waits) * 99 // 100
        report.value(f"series, {encoding}, 99th percentile", "ms", [waits[late]],
                     f"of {len(waits)} requests")
    report.target("/version against bare libmicrohttpd", ratio, ">=", TARGET)
    report.target(f"{POINTS}-point series over HTTP from 1 M points, p99 in ms",
                  series["identity"][len(series["identity"]) * 99 // 100], "<=", SERIES_P99_MS)
    report.end()


if __name__ == "__main__":
    main()

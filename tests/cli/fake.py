"""A small HTTP server with the shapes of heapmark's API, for testing the command alone.

Replies stand in a table of (method, path) -> list of Reply, used up one by one, the last repeated.
Requests are recorded. No logic of the real server is imitated beyond that.
"""
import json
import os
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUILD = os.environ.get("HEAPMARK_BUILD_DIR", "build/release")
HEAPMARK = os.path.join(BUILD, "bin", "heapmark")
JOB_ID = "11111111-2222-4333-8444-555555555555"
OTHER_ID = "11112222-2222-4333-8444-555555555555"


class Reply:
    def __init__(self, body="", status=200, content_type="application/json", headers=(),
                 chunks=None, cut=False, gate=None):
        self.body = body if isinstance(body, (str, bytes)) else json.dumps(body)
        self.status = status
        self.content_type = content_type
        self.headers = headers
        self.chunks = chunks      # an event stream, piece by piece
        self.cut = cut            # promise more than is sent, then close
        self.gate = gate          # threading.Event to wait for before the end


def problem(status, title, detail="", pointer=""):
    body = {"type": "/problems/x", "title": title, "status": status, "detail": detail,
            "request_id": "req-1"}
    if pointer:
        body["pointer"] = pointer
    return Reply(body, status, "application/problem+json")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        reply = self.server.take(self.command, self.path, body, dict(self.headers))
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        for name, value in reply.headers:
            self.send_header(name, value)
        if reply.chunks is not None:
            self.send_header("Connection", "close")
            self.end_headers()
            for chunk in reply.chunks:
                self.wfile.write(chunk if isinstance(chunk, bytes) else chunk.encode())
                self.wfile.flush()
            if reply.gate:
                reply.gate.wait(30)
            self.close_connection = True
            return
        data = reply.body if isinstance(reply.body, bytes) else reply.body.encode()
        self.send_header("Content-Length", str(len(data) + (100 if reply.cut else 0)))
        self.end_headers()
        self.wfile.write(data)
        if reply.cut:
            self.close_connection = True

    do_GET = do_POST = answer


class FakeServer(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, routes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.routes = {key: list(value) if isinstance(value, (list, tuple)) else [value]
                       for key, value in routes.items()}
        self.requests = []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def take(self, method, path, body, headers):
        with self.lock:
            self.requests.append((method, path, body, headers))
            replies = self.routes.get((method, path)) or self.routes.get(
                (method, path.split("?")[0]))
            if not replies:
                return problem(404, "No such thing", path)
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def handle_error(self, request, client_address):
        pass  # the command closed the connection: often the very thing tested

    def seen(self, method, path):
        return [r for r in self.requests if r[0] == method and r[1].split("?")[0] == path]

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.shutdown()
        self.server_close()


def clean_environment(**extra):
    keep = {k: v for k, v in os.environ.items() if not k.startswith("HEAPMARK_")}
    for name in ("http_proxy", "HTTP_PROXY", "NO_COLOR", "COLUMNS"):
        keep.pop(name, None)
    keep.update(extra)
    return keep


def heapmark(*args, server=None, env=None, stdin="", timeout=60):
    command = [HEAPMARK] + (["--server", server] if server else []) + list(args)
    return subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=timeout,
                          env=clean_environment(**(env or {})))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def job(state="succeeded", **extra):
    done = 10 if state in ("succeeded", "failed", "cancelled", "lost") else 0
    body = {"id": JOB_ID, "state": state, "name": "", "preset": "reference", "profile": "demo",
            "labels": {"project": "p", "commit": "c0ffee"}, "created": "2026-01-02T03:04:05.678Z",
            "progress": {"steps_total": 10, "steps_done": done, "steps_failed": 0,
                         "steps_discarded": 0, "seconds_left": None},
            "cells_count": 4, "cancel_requested": False, "error": None}
    body.update(extra)
    return body


def summary(value, spread=0.02, unit="pairs/s", direction="higher", ratio=None, ratio_spread=0.01,
            noise=None, bound=False, standing=None):
    return {"value": value, "low": value * (1 - spread), "high": value * (1 + spread),
            "confidence": 0.95, "count": 10, "unit": unit, "direction": direction, "ratio": ratio,
            "ratio_low": ratio and ratio * (1 - ratio_spread),
            "ratio_high": ratio and ratio * (1 + ratio_spread), "noise": noise,
            "null_share": None, "harness_bound": bound, "standing": standing}


def cell(subject, summaries, role="subject", pages="4k", ok=10, failed=0, failure="", **extra):
    body = {"index": 0, "subject": subject, "allocator": subject.split("+")[0], "options": [],
            "role": role, "pages": pages, "summaries": summaries,
            "trials": {"ok": ok, "failed": failed, "discarded": 0, "crowded": ok}, "last_failure": failure}
    body.update(extra)
    return body


def group(workload, threads, cells, axis="allocator", params_key="", pages="4k", params=None):
    return {"group": 0, "workload": workload, "threads": threads, "pages": pages,
            "params": params or {}, "params_key": params_key, "axis": axis, "cells": cells}

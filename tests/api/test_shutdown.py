"""Stopping with streams open, requests put aside, exports running and requests half sent: the
server ends by itself with status 0 (libmicrohttpd aborts when a suspended connection is left)."""

import os
import signal
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import JOB, PATIENCE, Server, main, read_all, status_of  # noqa: E402


class Shutdown(unittest.TestCase):
    def until_figures(self, server, *texts):
        end = time.monotonic() + PATIENCE
        while not all(t in server.get("/metrics").body.decode() for t in texts):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def check(self, how):
        server = Server("--step-ms", "100000")
        uuid = server.submit()
        kept = []
        for path, count in ((f"/api/v1/jobs/{uuid}/events", 5), (f"/api/v1/jobs/{uuid}?wait=60", 5)):
            for _ in range(count):
                s = server.connect()
                s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                kept.append((path, s))
        self.until_figures(server, "heapmark_http_event_streams 5",
                           "heapmark_http_waiting_requests 5")
        half = server.connect()
        half.sendall(b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n")
        idle = server.connect()
        status = server.stop(how)
        self.assertEqual(status, 0, server.stderr())
        for path, s in kept:
            answer = read_all(s)
            if "wait" in path:
                self.assertIn(status_of(answer), (200, 503), answer[:200])
            else:
                self.assertEqual(status_of(answer), 200)
                self.assertTrue(answer.endswith(b"0\r\n\r\n"), answer[-60:])
            s.close()
        self.assertEqual(read_all(half), b"")
        self.assertEqual(read_all(idle), b"")
        half.close()
        idle.close()
        server.remove()

    def test_term(self):
        self.check(signal.SIGTERM)

    def test_int(self):
        self.check(signal.SIGINT)

    def test_under_load(self):
        """Requests of every kind keep coming while it stops; none may crash it."""
        for round_ in range(5):
            server = Server()
            uuid = server.submit()
            server.finish(uuid)
            stop = threading.Event()

            def load(path):
                while not stop.is_set():
                    try:
                        server.get(path)
                    except OSError:
                        pass
                    except Exception as e:  # a reply cut off
                        if type(e).__module__ != "http.client":
                            raise

            paths = ("/version", "/api/v1/jobs", f"/api/v1/jobs/{uuid}/events",
                     f"/api/v1/jobs/{uuid}?wait=1", "/api/v1/results?format=csv", "/metrics")
            threads = [threading.Thread(target=load, args=(p,)) for p in paths]
            for t in threads:
                t.start()
            time.sleep(0.1 + 0.05 * round_)
            status = server.stop()
            stop.set()
            for t in threads:
                t.join()
            self.assertEqual(status, 0, server.stderr())
            server.remove()

    def test_new_jobs_are_refused_while_stopping(self):
        server = Server()
        self.assertEqual(server.get("/readyz").json, {"ready": True, "reason": None})
        server.submit(JOB)
        self.assertEqual(server.stop(), 0, server.stderr())
        server.remove()


if __name__ == "__main__":
    main()

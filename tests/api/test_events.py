"""Event streams: following, continuing, ending, leaving, the bound on them."""

import os
import re
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import JOB, PATIENCE, ServerCase, main, read_all, read_head, status_of  # noqa: E402

LONG = dict(JOB, repeat={"rings": 400, "rotations": 2})


def dechunk(data):
    out = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        n = int(size, 16)
        if n == 0:
            return out
        out += rest[:n]
        data = rest[n + 2:]
    raise AssertionError("the stream was cut off")


def events_of(body):
    out = []
    for block in body.decode().split("\n\n"):
        if block and not block.startswith(":"):
            out.append(dict(line.split(": ", 1) for line in block.split("\n")))
    return out


class Events(ServerCase):
    def open(self, uuid, **headers):
        s = self.server.connect()
        self.addCleanup(s.close)
        lines = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
        s.sendall(f"GET /api/v1/jobs/{uuid}/events HTTP/1.1\r\nHost: localhost\r\n"
                  f"Connection: close\r\n{lines}\r\n".encode())
        return s

    def read(self, s):
        answer = read_all(s)
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertEqual(status_of(head), 200, answer[:400])
        return head, events_of(dechunk(body))

    def test_whole_life(self):
        uuid = self.server.submit()
        head, events = self.read(self.open(uuid))
        self.assertIn(b"Content-Type: text/event-stream", head)
        self.assertIn(b"X-Accel-Buffering: no", head)
        self.assertNotIn(b"Content-Encoding", head)
        names = [e["event"] for e in events]
        self.assertEqual(names[-1], "end")
        self.assertEqual(names.count("step"), 2)
        ids = [int(e["id"]) for e in events]
        self.assertEqual(ids, list(range(ids[0], ids[0] + len(ids))))
        # After the end the same again, as often as wanted; and compression is never used.
        self.assertEqual(self.read(self.open(uuid, Accept_Encoding="gzip"))[1], events)
        for k in range(len(events)):
            with self.subTest(k):
                rest = self.read(self.open(uuid, Last_Event_ID=ids[k]))[1]
                self.assertEqual(rest, events[k + 1:])
        self.assertEqual(self.read(self.open(uuid, Last_Event_ID=10 ** 9))[1], events)

    def test_bad_requests(self):
        uuid = self.server.submit()
        for value in ("x", "-1", "1.5", "99999999999999999999999"):
            reply = self.server.get(f"/api/v1/jobs/{uuid}/events", Last_Event_ID=value)
            self.assertProblem(reply, 400, "malformed")
        reply = self.server.get(f"/api/v1/jobs/{uuid}/events", Accept="application/json")
        self.assertProblem(reply, 406, "not-acceptable")
        self.assertProblem(self.server.get("/api/v1/jobs/none/events"), 404, "not-found")

    def test_many_events(self):
        """More than are kept: a gap in the ids, and the end is always told."""
        uuid = self.server.submit(LONG)
        events = self.read(self.open(uuid))[1]
        self.assertEqual(events[-1]["event"], "end")
        late = self.read(self.open(uuid))[1]
        self.assertEqual(len(late), 256)
        self.assertGreater(int(late[0]["id"]), 1)


class Held(ServerCase):
    """A job that does not end meanwhile."""

    OPTIONS = ("--step-ms", "100000", "--events", "6", "--heartbeat-ms", "200", "--tick-ms", "50",
               "--idle-s", "1")

    open = Events.open

    def figure(self, name):
        text = self.server.get("/metrics").body.decode()
        return int(float(re.search(rf"^{name} (\S+)$", text, re.M).group(1)))

    def until(self, name, value):
        end = time.monotonic() + PATIENCE
        while self.figure(name) != value:
            self.assertLess(time.monotonic(), end, f"{name} does not become {value}")
            time.sleep(0.02)

    def test_cap_heartbeat_and_disconnect(self):
        uuid = self.server.submit()
        open_streams = [self.open(uuid) for _ in range(6)]
        for s in open_streams:
            self.assertEqual(status_of(read_head(s)), 200)
        self.until("heapmark_http_event_streams", 6)
        refused = self.server.get(f"/api/v1/jobs/{uuid}/events")
        self.assertProblem(refused, 429, "limit", contains=["6"])
        self.assertTrue(refused.headers["Retry-After"])
        self.assertEqual(self.server.get("/version").status, 200)
        data = b""  # longer than the idle time: heartbeats keep it open
        end = time.monotonic() + PATIENCE
        while data.count(b": still here") < 8:
            piece = open_streams[0].recv(4096)
            self.assertTrue(piece)
            data += piece
            self.assertLess(time.monotonic(), end)
        for s in open_streams[1:]:
            s.close()  # noticed at the next heartbeat
        self.until("heapmark_http_event_streams", 1)
        self.until("heapmark_event_subscriptions", 1)
        again = self.open(uuid)
        self.assertEqual(status_of(read_head(again)), 200)
        self.server.post(f"/api/v1/jobs/{uuid}/cancel")
        rest = read_all(again)
        self.assertIn(b"event: end", rest)
        self.assertTrue(rest.endswith(b"0\r\n\r\n"))
        self.until("heapmark_http_event_streams", 0)
        self.until("heapmark_event_subscriptions", 0)

    def test_slow_reader(self):
        """One that never reads costs nothing but its place, and not for ever."""
        uuid = self.server.submit()
        s = socket.socket()
        self.addCleanup(s.close)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        s.connect(("127.0.0.1", self.server.port))
        s.sendall(f"GET /api/v1/jobs/{uuid}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self.until("heapmark_http_event_streams", 1)
        for _ in range(50):
            self.assertEqual(self.server.get("/version").status, 200)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()  # a reset
        self.until("heapmark_http_event_streams", 0)
        self.server.post(f"/api/v1/jobs/{uuid}/cancel")


class Crowded(ServerCase):
    """Rings that leave the server no CPU of its own: streams pause while one runs."""

    OPTIONS = ("--crowded", "--step-ms", "100000", "--heartbeat-ms", "100", "--tick-ms", "50")

    open = Events.open

    def test_nothing_but_heartbeats_while_a_ring_runs(self):
        uuid = self.server.submit()
        end = time.monotonic() + PATIENCE
        while True:  # who comes before the ring has begun may be told so
            s, data = self.open(uuid), b""
            while data.count(b": still here") < 5 and b"event:" not in data:
                piece = s.recv(4096)
                self.assertTrue(piece)
                data += piece
            if b"event:" not in data:
                break
            self.assertLess(time.monotonic(), end, "events are written while a ring runs")
            time.sleep(0.05)
        # reading the job and waiting for it go on; the end of the ring lets all events go
        self.assertEqual(self.server.get(f"/api/v1/jobs/{uuid}").json["state"], "running")
        self.server.post(f"/api/v1/jobs/{uuid}/cancel")
        rest = read_all(s)
        self.assertIn(b"event: state", rest)
        self.assertIn(b"event: end", rest)
        self.assertTrue(rest.endswith(b"0\r\n\r\n"))


class CrowdedShort(ServerCase):
    OPTIONS = ("--crowded", "--step-ms", "20")

    open = Events.open

    def test_events_are_written_between_rings(self):
        uuid = self.server.submit(LONG)
        s, data = self.open(uuid), b""
        while data.count(b"event: step") < 3:
            piece = s.recv(4096)
            self.assertTrue(piece)
            data += piece
        self.assertEqual(self.server.get(f"/api/v1/jobs/{uuid}").json["state"], "running")
        self.server.post(f"/api/v1/jobs/{uuid}/cancel")
        self.assertIn(b"event: end", read_all(s))


if __name__ == "__main__":
    main()

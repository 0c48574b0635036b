"""How many connections one address may have. Loopback is exempt, so all this happens in a network
namespace of our own, where the loopback device has addresses that are not."""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import PATIENCE, Server, main, read_head, status_of  # noqa: E402

INSIDE = "HEAPMARK_TEST_INSIDE"
HERE, THERE = "192.0.2.7", "192.0.2.8"  # for documentation: nobody's
MOST = 3
ASK = f"GET /version HTTP/1.1\r\nHost: {HERE}\r\n\r\n".encode()
SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP = 0x8914, 0x8916, 1


def give_addresses():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
        for label, address in ((b"lo:1", HERE), (b"lo:2", THERE)):
            fcntl.ioctl(s, SIOCSIFADDR, struct.pack("16sHH4s8x", label, socket.AF_INET, 0,
                                                    socket.inet_aton(address)))


class PerAddress(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="heapmark-api-")
        path = os.path.join(cls.folder.name, "s")
        first = Server("--listen", f"unix:{path}")  # who listens to others has a token
        first.request("POST", "/api/v1/tokens", {"name": "t", "scopes": ["read"]},
                      {"Host": "localhost"}, path)
        first.stop()
        cls.first = first
        cls.server = Server("--listen", "0.0.0.0:0", "--host", HERE, "--public-read",
                            "--per-address", str(MOST), directory=first.directory)

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        cls.server.remove()
        cls.first.remove()
        cls.folder.cleanup()
        if status != 0:
            raise AssertionError(f"api_server ended with {status}")

    def setUp(self):
        self.open = []

    def tearDown(self):
        for s in self.open:
            s.close()

    def connect(self, source, to=HERE):
        """A connection that stays, and the status of its first answer; None: closed instead."""
        s = socket.create_connection((to, self.server.port), PATIENCE, (source, 0))
        self.open.append(s)
        try:
            s.sendall(ASK)
            return s, status_of(read_head(s))
        except (ConnectionResetError, BrokenPipeError):
            return s, None

    def refused(self):
        text = self.server.get("/metrics", Host=HERE).body.decode()
        return int(text.split("\nheapmark_http_connections_refused_total ")[1].split()[0])

    def test_one_address_has_so_many_and_no_more(self):
        before = self.refused()
        held = [self.connect(HERE) for _ in range(MOST)]
        self.assertEqual([status for _, status in held], [200] * MOST)
        self.assertIsNone(self.connect(HERE)[1])
        self.assertEqual(self.refused(), before + 1)
        # others have their own, and those that were there keep theirs
        self.assertEqual([self.connect(THERE)[1] for _ in range(MOST)], [200] * MOST)
        self.assertIsNone(self.connect(THERE)[1])
        held[0][0].sendall(ASK)

    def test_a_place_comes_back(self):
        until = time.monotonic() + PATIENCE
        held = [self.connect(THERE)[0] for _ in range(MOST)]
        self.assertIsNone(self.connect(THERE)[1])
        held[1].close()
        while self.connect(THERE)[1] != 200:  # once the server has seen the end
            self.assertLess(time.monotonic(), until)
            time.sleep(0.01)
        self.assertIsNone(self.connect(THERE)[1])

    def test_loopback_is_exempt(self):
        for _ in range(3 * MOST):
            self.assertEqual(self.connect("127.0.0.1", "127.0.0.1")[1], 200)


if __name__ == "__main__":
    if INSIDE not in os.environ:
        unshare = ["unshare", "--map-root-user", "--net"]
        if subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
            print("skipped: no network namespace to be had")
            sys.exit(77)
        sys.exit(subprocess.run([*unshare, sys.executable, *sys.argv],
                                env=dict(os.environ, **{INSIDE: "1"})).returncode)
    give_addresses()
    main()

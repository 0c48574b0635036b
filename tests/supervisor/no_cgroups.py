#!/usr/bin/env python3
"""The supervisor's tests where no cgroup is mounted: the mounts are hidden in a mount namespace of
our own. Everything works, with less isolation, and the supervisor says so."""
import os
import shutil
import subprocess
import sys

BUILD = os.environ["HEAPMARK_BUILD_DIR"]
TESTS = ["test_supervisor_outcomes", "test_supervisor_hostile"]
REASON = "is not a cgroup directory here"


def main():
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or not unshare:
        print("skipped: a mount namespace needs root and unshare(1)")
        return 77
    hide = "mount -t tmpfs none /sys/fs/cgroup"
    if subprocess.run([unshare, "-m", "sh", "-c", hide], check=False).returncode != 0:
        print("skipped: cgroup mounts cannot be hidden here")
        return 77
    if not os.path.ismount("/sys/fs/cgroup"):
        print("skipped: cgroups are mounted somewhere else than /sys/fs/cgroup")
        return 77
    env = dict(os.environ, HEAPMARK_EXPECT_CGROUP="0", HEAPMARK_EXPECT_KILL="0",
               HEAPMARK_EXPECT_REASON=REASON)
    for name in TESTS:
        test = os.path.join(BUILD, "tests", name)
        command = [unshare, "-m", "sh", "-c", f'{hide} && exec "$0"', test]
        if subprocess.run(command, env=env, check=False).returncode != 0:
            print(f"failed: {name}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

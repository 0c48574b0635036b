#!/usr/bin/env python3
"""The supervisor's tests in a virtual machine that has cgroup v2 only: memory, cpuset, pids, kill,
peak and OOM as a modern host serves them, from the root group, from a delegated group of our own,
and from a group where somebody else lives. Debian's cloud kernel is unpacked (never installed) and
kept below build/kernel. Emulated (TCG), so it needs no privilege. Skipped, with the reason, when
qemu, busybox, cpio or the kernel package cannot be had. Arguments: names of runs, default all."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = os.environ["HEAPMARK_SOURCE_DIR"]
BUILD = os.environ["HEAPMARK_BUILD_DIR"]
KERNEL_DIR = os.path.join(SOURCE, "build", "kernel")
SECONDS_MAX = 900

PROGRAMS = ["bin/heapmark-supervisor", "bin/heapmark-runner", "tests/fake_runner",
            "tests/test_supervisor_outcomes", "tests/test_supervisor_hostile",
            "tests/test_supervisor_life", "tests/test_supervisor_cgroup"]
LIBRARIES = ["lib/libhm_null.so", "lib/libhm_bump.so"]

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HEAPMARK_BUILD_DIR=/build HEAPMARK_SOURCE_DIR=/src
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
run() {
    name=$1
    shift
    case " @ONLY@ " in *" $name "*) ;; *) return ;; esac
    echo "BEGIN $name"
    "$@" 2>&1
    echo "RESULT $name $?"
}
cg=/sys/fs/cgroup
T=/build/tests
# As root of the hierarchy.
export HEAPMARK_EXPECT_CGROUP=2 HEAPMARK_EXPECT_KILL=2
run root-outcomes $T/test_supervisor_outcomes
run root-life $T/test_supervisor_life
run root-cgroup $T/test_supervisor_cgroup
run root-hostile $T/test_supervisor_hostile
# In a group of our own, as a service manager delegates it: daemon and supervisor make room.
mkdir -p $cg/slice/own $cg/slice/shared
echo "+cpuset +memory +hugetlb +pids" >$cg/cgroup.subtree_control
echo "+cpuset +memory +hugetlb +pids" >$cg/slice/cgroup.subtree_control
run delegated-hostile sh -c "echo \\$\\$ >$cg/slice/own/cgroup.procs; exec $T/test_supervisor_hostile"
# The same, but somebody else lives there: less isolation, said so.
sh -c "echo \\$\\$ >$cg/slice/shared/cgroup.procs; exec sleep 100000" &
sleep 1
export HEAPMARK_EXPECT_CGROUP=0 HEAPMARK_EXPECT_REASON="other processes live in our cgroup"
run shared-hostile sh -c "echo \\$\\$ >$cg/slice/shared/cgroup.procs; exec $T/test_supervisor_hostile"
echo "LEFT $(find $cg -name 'launch-*' | wc -l)"
echo "FINISHED"
poweroff -f
"""
RUNS = ["root-outcomes", "root-life", "root-cgroup", "root-hostile", "delegated-hostile",
        "shared-hostile"]
MAY_SKIP = ["shared-hostile", "root-cgroup"]  # less isolation; variants with v1


def skip(reason):
    print("skipped: " + reason)
    sys.exit(77)


def need_program(name, package):
    path = shutil.which(name)
    if not path:
        skip(f"{name} is missing: install Debian package {package}")
    return path


def kernel_find():
    found = sorted(glob.glob(os.path.join(KERNEL_DIR, "vmlinuz-*-cloud-amd64")))
    return found[-1] if found else None


def kernel_fetch():
    """Download and unpack the kernel package, keep only the kernel."""
    os.makedirs(KERNEL_DIR, exist_ok=True)
    depends = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"],
                             capture_output=True, text=True, check=False).stdout
    name = re.search(r"Depends: (linux-image-\S+-cloud-amd64)", depends)
    if not name:
        skip("apt knows no package linux-image-cloud-amd64: run apt-get update")
    with tempfile.TemporaryDirectory(dir=KERNEL_DIR) as work:
        got = subprocess.run(["apt-get", "download", name.group(1)], cwd=work,
                             capture_output=True, text=True, check=False)
        packages = glob.glob(os.path.join(work, "*.deb"))
        if got.returncode != 0 or not packages:
            skip(f"the kernel package cannot be downloaded: {got.stderr.strip()[-200:]}")
        subprocess.run(["dpkg-deb", "-x", packages[0], os.path.join(work, "root")], check=True)
        for path in glob.glob(os.path.join(work, "root", "boot", "vmlinuz-*")):
            shutil.move(path, KERNEL_DIR)


def copy(source, root, target):
    where = root + target
    os.makedirs(os.path.dirname(where), exist_ok=True)
    shutil.copy(source, where)
    os.chmod(where, 0o755)


def shared_libraries(path):
    out = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", out)


def build_root(root, busybox, runs):
    for name in ["bin", "proc", "sys", "dev", "tmp", "src/allocators"]:
        os.makedirs(os.path.join(root, name))
    os.chmod(os.path.join(root, "tmp"), 0o1777)
    copy(busybox, root, "/bin/busybox")
    for name in PROGRAMS + LIBRARIES:
        path = os.path.join(BUILD, name)
        copy(path, root, "/build/" + name)
        for library in shared_libraries(path):
            copy(library, root, library)
    shutil.copytree(os.path.join(SOURCE, "allocators", "catalog"),
                    os.path.join(root, "src/allocators/catalog"))
    init = os.path.join(root, "init")
    with open(init, "w", encoding="ascii") as f:
        f.write(INIT.replace("@ONLY@", " ".join(runs)))
    os.chmod(init, 0o755)
    os.chmod(root, 0o755)


def pack(root, target):
    names = subprocess.run(["find", ".", "-print0"], cwd=root, capture_output=True, check=True)
    with open(target, "wb") as f:
        subprocess.run(["cpio", "--null", "-o", "-H", "newc", "--quiet", "-R", "0:0"], cwd=root,
                       input=names.stdout, stdout=f, check=True)


def boot(qemu, kernel, initramfs):
    command = [qemu, "-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "2", "-nographic",
               "-nodefaults", "-serial", "stdio", "-no-reboot", "-kernel", kernel, "-initrd",
               initramfs, "-append",
               "console=ttyS0 quiet panic=-1 random.trust_cpu=on rdinit=/init"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=SECONDS_MAX, check=False)
        return done.stdout.decode("utf-8", "replace").replace("\r", "")
    except subprocess.TimeoutExpired as e:
        return (e.stdout or b"").decode("utf-8", "replace").replace("\r", "") + "\nTIMEOUT\n"


def main():
    runs = sys.argv[1:] or RUNS
    qemu = need_program("qemu-system-x86_64", "qemu-system-x86")
    busybox = need_program("busybox", "busybox-static")
    need_program("cpio", "cpio")
    if shared_libraries(busybox):
        skip("busybox is not static: install Debian package busybox-static")
    if not kernel_find():
        need_program("apt-get", "apt")
        kernel_fetch()
    kernel = kernel_find()
    if not kernel:
        skip("the kernel package holds no kernel")
    with tempfile.TemporaryDirectory() as work:
        root = os.path.join(work, "root")
        os.mkdir(root)
        build_root(root, busybox, runs)
        pack(root, os.path.join(work, "initramfs"))
        text = boot(qemu, kernel, os.path.join(work, "initramfs"))
    print(text)
    failed = []
    for name in runs:
        section = re.search(rf"BEGIN {name}\n(.*?)RESULT {name} (\d+)\n", text, re.DOTALL)
        if not section or section.group(2) != "0":
            failed.append(name)
        elif name not in MAY_SKIP:
            # This machine has everything: what is skipped here is run nowhere.
            failed += re.findall(r"\[  SKIPPED \] (test_\S+)", section.group(1))
    if "LEFT 0\n" not in text:
        failed.append("groups were left")
    if "FINISHED" not in text:
        failed.append("the machine did not finish")
    failed = sorted(set(failed))
    print("failed: " + ", ".join(failed) if failed else "all passed on " + os.path.basename(kernel))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The machine code of the measured loops: calls to malloc and free are really made, through
registers, and nothing in the loop touches the stack, a lock, a clock or the kernel."""
import os
import re
import shutil
import subprocess
import sys
import unittest

RUNNER = os.path.join(os.environ["HEAPMARK_BUILD_DIR"], "bin", "heapmark-runner")
LOOPS = {
    "table_plain_none": 2, "table_plain_ends": 2, "table_plain_full": 2,
    "table_shared_none": 2, "table_shared_ends": 2, "table_shared_full": 2,
    "table_fill_none": 1, "table_fill_ends": 1, "table_fill_full": 1,
    "table_drain": 1,
}


def disassemble():
    out = subprocess.run(["objdump", "-d", "--no-show-raw-insn", RUNNER], capture_output=True,
                         text=True, check=True).stdout
    functions = {}
    for block in out.split("\n\n"):
        head = re.match(r"\s*[0-9a-f]+ <(\w+)>:", block)
        if head:
            functions[head.group(1)] = re.findall(r"^\s*([0-9a-f]+):\s+(.*?)\s*$", block, re.M)
    return functions


def loop_of(code):
    """Instructions from the target of the lowest backward jump to the highest such jump."""
    spans = []
    for address, text in code:
        jump = re.match(r"j\w+\s+([0-9a-f]+)", text)
        if jump and int(jump.group(1), 16) <= int(address, 16):
            spans.append((int(jump.group(1), 16), int(address, 16)))
    first, last = min(s[0] for s in spans), max(s[1] for s in spans)
    return [text for address, text in code if first <= int(address, 16) <= last]


class HotLoop(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.functions = disassemble()

    def test_indirect_calls(self):
        for name, calls in LOOPS.items():
            with self.subTest(loop=name):
                loop = loop_of(self.functions[name])
                indirect = [t for t in loop if re.match(r"call\s+\*%r", t)]
                self.assertEqual(len(indirect), calls, loop)
                direct = [t for t in loop if t.startswith("call") and t not in indirect]
                if name.endswith("_full"):
                    self.assertEqual(len(direct), 1)
                    self.assertIn("memset", direct[0])
                else:
                    self.assertEqual(direct, [])

    def test_nothing_on_the_stack(self):
        for name in LOOPS:
            with self.subTest(loop=name):
                for text in loop_of(self.functions[name]):
                    self.assertNotRegex(text, r"\(%rsp|%rsp\)|push|pop")

    def test_no_atomics_without_sharing(self):
        for name in LOOPS:
            loop = loop_of(self.functions[name])
            atomics = [t for t in loop if t.startswith(("lock", "xchg")) and "," in t and "(" in t]
            with self.subTest(loop=name):
                self.assertEqual(len(atomics), 1 if "shared" in name else 0)

    def test_no_kernel_and_no_clock(self):
        for name in LOOPS:
            with self.subTest(loop=name):
                for text in loop_of(self.functions[name]):
                    self.assertNotRegex(text, r"syscall|rdtsc|rdrand|mfence|cpuid|div")


if __name__ == "__main__":
    if not shutil.which("objdump"):
        print("skipped: objdump (binutils) is not installed")
        sys.exit(77)
    if os.uname().machine != "x86_64":
        print("skipped: reads x86-64 code")
        sys.exit(77)
    sys.exit(unittest.main())

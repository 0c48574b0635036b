"""The machine code of the measured loops: calls to malloc and free are really made, through
registers, and nothing in the loop touches the stack, a lock, a clock or the kernel."""
import os
import re
import shutil
import subprocess
import sys
import unittest

RUNNER = os.path.join(os.environ["HEAPMARK_BUILD_DIR"], "bin", "heapmark-runner")
# Function: steps in each of its loops, and calls (malloc, free) in each step. Replays go four at
# a time and then one by one.
LOOPS = {f"table_{loop}_{touch}": ([4, 1], 2)
         for loop in ("plain", "shared") for touch in ("none", "ends", "full")}
LOOPS |= {f"table_fill_{touch}": ([1], 1) for touch in ("none", "ends", "full")}
LOOPS["table_drain"] = ([1], 1)


def disassemble():
    out = subprocess.run(["objdump", "-d", "--no-show-raw-insn", RUNNER], capture_output=True,
                         text=True, check=True).stdout
    functions = {}
    for block in out.split("\n\n"):
        head = re.match(r"\s*[0-9a-f]+ <(\w+)>:", block)
        if head:
            functions[head.group(1)] = re.findall(r"^\s*([0-9a-f]+):\s+(.*?)\s*$", block, re.M)
    return functions


def loops_of(code):
    """The loops, each from the target of a backward jump to the last such jump that overlaps,
    as lists of instructions in the order of their addresses."""
    spans = []
    for address, text in code:
        jump = re.match(r"j\w+\s+([0-9a-f]+)", text)
        if jump and int(jump.group(1), 16) <= int(address, 16):
            spans.append((int(jump.group(1), 16), int(address, 16)))
    merged = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    loops = [[text for address, text in code if first <= int(address, 16) <= last]
             for first, last in merged]
    # clang puts early exits behind the epilogue they jump back to: no loop returns in the middle.
    return [loop for loop in loops if "ret" not in loop]


class HotLoop(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.functions = disassemble()

    def each_loop(self):
        """Name, steps in the loop, calls in a step, instructions."""
        for name, (steps, calls) in LOOPS.items():
            loops = loops_of(self.functions[name])
            self.assertEqual(len(loops), len(steps), (name, loops))
            for count, loop in zip(steps, loops):
                yield name, count, calls, loop

    def test_indirect_calls(self):
        for name, steps, calls, loop in self.each_loop():
            indirect = [t for t in loop if re.match(r"call\s+\*%r", t)]
            self.assertEqual(len(indirect), steps * calls, (name, loop))
            direct = [t for t in loop if t.startswith("call") and t not in indirect]
            self.assertEqual(len(direct), steps if name.endswith("_full") else 0, (name, loop))
            for call in direct:
                self.assertIn("memset", call)

    def test_nothing_on_the_stack(self):
        for name, steps, _, loop in self.each_loop():
            with self.subTest(function=name, steps=steps):
                for text in loop:
                    self.assertNotRegex(text, r"\(%rsp|%rsp\)|push|pop", loop)

    def test_no_atomics_without_sharing(self):
        for name, steps, _, loop in self.each_loop():
            atomics = [t for t in loop if t.startswith(("lock", "xchg")) and "," in t and "(" in t]
            self.assertEqual(len(atomics), steps if "shared" in name else 0, name)

    def test_slot_is_fetched_ahead(self):
        """In both replays alike, or their figures would not compare."""
        for name, steps, _, loop in self.each_loop():
            fetches = [t for t in loop if t.startswith("prefetch")]
            replay = "plain" in name or "shared" in name
            self.assertEqual(len(fetches), steps if replay else 0, name)

    def test_no_kernel_and_no_clock(self):
        for _, _, _, loop in self.each_loop():
            for text in loop:
                self.assertNotRegex(text, r"syscall|rdtsc|rdrand|mfence|cpuid|div")


if __name__ == "__main__":
    if not shutil.which("objdump"):
        print("skipped: objdump (binutils) is not installed")
        sys.exit(77)
    if os.uname().machine != "x86_64":
        print("skipped: reads x86-64 code")
        sys.exit(77)
    sys.exit(unittest.main())

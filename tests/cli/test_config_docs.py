"""Generated documents: the copy of the settings' page is current, and no setting is without use."""
import os
import re
import subprocess
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("HEAPMARK_SOURCE_DIR", "."))
BUILD = Path(os.environ.get("HEAPMARK_BUILD_DIR", "build/release"))


class Drift(unittest.TestCase):
    def test_configuration_page(self):
        generated = (BUILD / "docs" / "configuration.md").read_text()
        self.assertEqual((SOURCE / "docs" / "configuration.md").read_text(), generated,
                         "copy build/<preset>/docs/configuration.md to docs/")

    def test_example_configuration_is_good(self):
        daemon = BUILD / "bin" / "heapmarkd"
        example = SOURCE / "packaging" / "heapmark.conf"
        got = subprocess.run([daemon, "--config", example, "--set", "server.user=",
                              "--check-config"], capture_output=True, text=True)
        self.assertEqual(got.returncode, 0, got.stderr)

    def test_every_setting_is_read_somewhere(self):
        table = (SOURCE / "daemon/config/settings.c").read_text()
        members = re.findall(r"AT\((\w+)\)", table)
        self.assertGreater(len(members), 20)
        used = "\n".join(path.read_text() for path in SOURCE.glob("daemon/*/*.c")
                         if path.parent.name != "config")
        unused = [m for m in members if not re.search(rf"(->|\.){m}\b", used)]
        # Its one choice needs no code yet.
        self.assertEqual(unused, ["executor_kind"])

    def test_manual_pages_are_roff(self):
        for page in (BUILD / "docs" / "heapmark.1", BUILD / "docs" / "heapmark.conf.5",
                     SOURCE / "docs" / "heapmarkd.8"):
            text = page.read_text()
            for section in (".TH ", ".SH NAME", ".SH DESCRIPTION"):
                self.assertIn(section, text, page)
            for line in text.splitlines():
                if line.startswith("."):
                    self.assertRegex(line, r'^\.(\\"|[A-Z]{1,2}\b)', page)
        daemon = BUILD / "bin" / "heapmarkd"
        manual = (SOURCE / "docs" / "heapmarkd.8").read_text().replace("\\-", "-")
        usage = subprocess.run([daemon, "--help"], capture_output=True, text=True).stdout
        options = re.findall(r"--[a-z-]+", usage)
        self.assertGreater(len(options), 5)
        for option in options:
            self.assertIn(option, manual)


if __name__ == "__main__":
    unittest.main()

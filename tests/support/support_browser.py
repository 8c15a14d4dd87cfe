"""A page as its tags, and as a real browser holds it."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--enable-logging=stderr"
)


def open_page(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The document after its scripts ran, and what was said on the console."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed, so no real browser can open the page.")
    finished = subprocess.run(
        [browser, *_FLAGS.split(), f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True,
        timeout=120,
        check=True,
    )
    said = finished.stderr.decode("utf-8", "replace")
    return finished.stdout.decode("utf-8"), re.findall(r"CONSOLE.*", said)


def with_script(page: Path, script: str, to: Path) -> Path:
    """The page with one more script, which acts as its reader; its policy allows inline ones."""
    text = page.read_text("utf-8")
    to.write_text(text.replace("</body>", f"<script>{script}</script></body>"), "utf-8")
    return to


class Outline(HTMLParser):
    """Tags as a browser would count them, each with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        self.tags.append((tag, dict(attrs)))

    def count(self, tag: str, **attributes: str) -> int:
        """How many tags of this kind have these attributes."""
        return sum(name == tag and attributes.items() <= found.items() for name, found in self.tags)

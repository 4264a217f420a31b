"""The tutorial, followed to the letter: files written, commands typed, what it shows waited for."""

from __future__ import annotations

from pathlib import Path

from tests.docs.pages import ROOT, blocks
from tests.docs.terminal import Terminal
from tests.kit.ports import free_port


def test_a_newcomer_can_follow_it(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text()
    # The one thing that is not as on the page: its port may be taken here.
    page = page.replace("8080", str(free_port()))
    terminal = Terminal(ROOT, tmp_path)
    try:
        for block in blocks(page):
            if block.file is not None:
                (tmp_path / "my-chat" / block.file).write_text(block.text)
            elif block.language == "console":
                terminal.follow(block.text)
            else:
                assert block.language == "sh"
                for line in block.text.splitlines():
                    terminal.type(line + "\n")
                    assert terminal.finish() == 0, line
    finally:
        terminal.close()
    assert "generation 2" in (tmp_path / "my-chat" / "service.log").read_text()

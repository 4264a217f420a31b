"""Takes the picture of the example chat: ``python -m tests.browser.screenshot docs/chat.png``."""

from __future__ import annotations

import sys
import tempfile
from contextlib import closing
from pathlib import Path

from tests.browser.chat import Chat, chromium, tab

SAID = (
    ("Bruno", "Is the new release out?"),
    ("Ada", "Since this morning. I restarted the service a minute ago."),
    ("Bruno", "I have not noticed."),
    ("Chen", "Nor have I, and I was in a tunnel meanwhile: it all came afterwards."),
    ("Ada", "That is the idea."),
)
SIZE = {"width": 860, "height": 560}


def main(path: Path) -> None:
    """Let three people talk, and look over the shoulder of the first."""
    with tempfile.TemporaryDirectory() as folder:
        chat = Chat(Path(folder))
        with closing(chat.service), chromium() as browser:
            chat.service.wait_ready()
            names = sorted({name for name, _text in SAID})
            port = chat.service.port
            tabs = {name: tab(browser, port, name, viewport=SIZE) for name in names}
            for number, (name, text) in enumerate(SAID, start=1):
                tabs[name].say(text)
                for one in tabs.values():
                    one.expect_count(number)
            first = tabs[names[0]]
            first.expect_people(*names)
            first.page.screenshot(path=path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

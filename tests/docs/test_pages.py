"""Pages that show code: it runs, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
_LINK = re.compile(r"\[[^\]]+\]\(([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("name", ["coming-from-userver", "coming-from-websockets"])
def test_code_beside_other_code_is_valid(name: str) -> None:
    page = (ROOT / "docs" / f"{name}.md").read_text()
    ours = [block.text for block in blocks(page) if block.language == "python"]
    assert len(ours) >= 2
    for text in ours:
        exec(compile(text, f"{name}.md", "exec"), {"__name__": "page"})


@pytest.mark.parametrize("file", ["haproxy.cfg", "nginx.conf"])
def test_a_file_of_deploy_is_shown_as_it_is(file: str) -> None:
    page = (ROOT / "docs" / "proxies.md").read_text()
    language = Path(file).stem
    shown = [block.text for block in blocks(page) if block.language == language]
    assert shown == [(ROOT / "deploy" / file).read_text()]

"""One look for the pages that are opened outside of a notebook: report, class board, certificate. They load nothing."""

from __future__ import annotations

import html

# every colour of words has a contrast of 4.5 : 1 or more to `paper` and `head`; tests/browser/test_pages.py measures it
STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #fff; --soft: #59636e; --line: #d1d9e0; --head: #f6f8fa; --good: #1a7f37; --bad: #c21f2b; --wait: #9a3c00; --mark: #0969da }
@media (prefers-color-scheme: dark) { :root { --ink: #f0f6fc; --paper: #0d1117; --soft: #9aa4af; --line: #3d444d; --head: #1c232c; --good: #3fb950; --bad: #ff7b72; --wait: #f0883e; --mark: #4493f8 } }
body { font: 16px/1.6 system-ui, "Noto Sans KR", sans-serif; max-width: 1100px; margin: 1.5rem auto; padding: 0 1rem; color: var(--ink); background: var(--paper); overflow-wrap: break-word }
table { border-collapse: collapse } th, td { text-align: left; border-bottom: 1px solid var(--line) } th { background: var(--head) }
.wide { overflow-x: auto } .soft { color: var(--soft) } .good { color: var(--good) } .bad { color: var(--bad) } .wait { color: var(--wait) }
svg { width: 100%; max-width: 660px; height: auto }
"""


def document(title: str, body: str, style: str = "", head: str = "", language: str = "en") -> str:
    """A whole page; `title` is escaped, `body`, `style` (CSS) and `head` are not."""
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return (
        f'<!doctype html><html lang="{language}"><head>{meta}{head}<title>{html.escape(title)}</title>'
        f"<style>{STYLE}{style}</style></head><body>{body}</body></html>\n"
    )

"""What a careful eye would see on a page: words that are too faint, boxes that leave the window, pictures without
words."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

# Relative luminance and contrast as WCAG 2.2 defines them; backgrounds and opacity are laid over each other as a
# browser does.
FAINT = """
(root) => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1] }
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1)
  const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0)
  const found = []
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const node = walker.currentNode, box = node.parentElement
    if (!node.textContent.trim() || !box.checkVisibility() || !box.closest(root) || box.closest('svg, script, style')) continue
    let paper = [255, 255, 255, 1], opacity = 1
    const chain = []
    for (let up = box; up; up = up.parentElement) chain.unshift(getComputedStyle(up))
    for (const style of chain) { paper = over(parse(style.backgroundColor), paper); opacity *= Number(style.opacity) }
    const ink = parse(getComputedStyle(box).color)
    const [a, b] = [light(over([ink[0], ink[1], ink[2], ink[3] * opacity], paper)), light(paper)]
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05)
    if (contrast < 4.5) found.push(`${node.textContent.trim().slice(0, 40)}: ${contrast.toFixed(2)}`)
  }
  return found
}
"""
WIDE = """
(root) => {
  const scrolls = (box, frame) => { for (let up = box; up && up !== frame; up = up.parentElement)
      if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(up).overflowX)) return true }
  return [...document.querySelectorAll(root)].flatMap(frame => {
    const right = Math.min(frame.getBoundingClientRect().right, innerWidth)
    return [...frame.querySelectorAll('*')]
      .filter(box => box.getBoundingClientRect().right > right + 1 && box.checkVisibility() && !scrolls(box, frame))
      .map(box => `${box.textContent.trim().slice(0, 40) || box.tagName}: ${Math.round(box.getBoundingClientRect().right)} of ${Math.round(right)} px`)
  })
}
"""


def faint_words(tab, root: str = "body") -> list[str]:
    """Texts in the elements `root` (a CSS selector) whose contrast to what lies behind them is under 4.5 : 1."""
    return tab.evaluate(FAINT, root)


def too_wide(tab, root: str = "html", seconds: float = 10) -> list[str]:
    """What leaves the elements `root`, or the window, to the right, and lies in no box of theirs that scrolls. A page
    that was resized is laid out a while later: asked again for `seconds`, until nothing is too wide."""
    end = time.monotonic() + seconds
    while (found := tab.evaluate(WIDE, root)) and time.monotonic() < end:
        tab.wait_for_timeout(250)
    return found


class _Pictures(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.nameless = None, []

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        if tag == "img" and not (has.get("alt") or "").strip():
            self.nameless.append(f"<img {(has.get('src') or '')[:40]}>")
        if tag == "svg" and has.get("aria-hidden") != "true":
            named = has.get("role") == "img" and (has.get("aria-label") or "").strip()
            self.open = None if named else f"<svg {' '.join(f'{k}={v}' for k, v in attributes)[:60]}>"
            self.nameless += [self.open] if self.open else []
        if tag == "title" and self.open:
            self.nameless.remove(self.open)
            self.open = None

    def handle_endtag(self, tag):
        self.open = None if tag == "svg" else self.open


def nameless_pictures(page: str) -> list[str]:
    """The pictures of a page, HTML or Markdown, without a text in their place: <img> without alt, <svg> without a
    name."""
    reader = _Pictures()
    reader.feed(re.sub(r"!\[(.*?)\]\((\S*?)\)", lambda found: f'<img alt="{found[1]}" src="{found[2]}">', page))
    return reader.nameless

"""The pages as pictures, to be looked at by a person: three widths, light and dark. By hand:

    python -m proofs.proof_pictures FOLDER [NAME ...]     such as 06_evaluation; without any, the whole gallery

Writes FOLDER/NAME-WIDTH-THEME.png, in pieces of HIGH pixels, and names what a browser measures: boxes that are wider
than the page, words with too little contrast, pictures without words. 1 when there is any.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from docs.make_gallery import FOLDER as GALLERY
from proofs.proof_browser import chromium
from tests.browser.look import faint_words, too_wide

WIDTHS, THEMES = (1280, 1920, 390), ("light", "dark")
HIGH = 2400  # pixels of one piece: more is shrunk by whoever shows it


def main() -> int:
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    pages, found = [path for path in sorted(GALLERY.glob("*.html")) if not names or path.stem in names], 0
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        for theme in THEMES:
            for width in WIDTHS:
                tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
                for path in pages:
                    tab.goto(path.as_uri())
                    picture = folder / f"{path.stem}-{width}-{theme}.png"
                    tab.screenshot(path=picture, full_page=True)
                    faults = [f"too wide: {box}" for box in too_wide(tab, "body")]
                    faults += [f"faint: {words}" for words in faint_words(tab, "body")]
                    print(f"{picture.name}: {cut(picture)} pieces, {len(faults)} faults", *faults[:8], sep="\n  ")
                    found += len(faults)
                tab.close()
        browser.close()
    return 1 if found else 0


def cut(picture: Path) -> int:
    """The picture in pieces of HIGH pixels, NAME-0.png and so on; how many."""
    image = Image.open(picture)
    tops = range(0, image.height, HIGH)
    for number, top in enumerate(tops):
        image.crop((0, top, image.width, min(top + HIGH, image.height))).save(f"{picture.with_suffix('')}-{number}.png")
    picture.unlink()
    return len(tops)


if __name__ == "__main__":
    sys.exit(main())

"""python -m docs.drawings: make every drawing anew, into notebooks/drawings/ and notebooks/LANGUAGE/drawings/."""

from __future__ import annotations

from docs.drawings import LANGUAGES, drawings, folder
from helpers.paths import PROJECT_ROOT


def main() -> None:
    for language in LANGUAGES:
        folder(language).mkdir(exist_ok=True)
        for sheet in drawings(language):
            path = folder(language) / f"{sheet.name}.svg"
            path.write_text(sheet.svg(), encoding="utf-8")
            print(f"{path.stat().st_size:>7,} bytes  {path.relative_to(PROJECT_ROOT)}")


if __name__ == "__main__":
    main()

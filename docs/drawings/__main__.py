"""python -m docs.drawings: make every drawing anew, into notebooks/drawings/."""

from __future__ import annotations

from docs.drawings import FOLDER, drawings


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for sheet in drawings():
        path = FOLDER / f"{sheet.name}.svg"
        path.write_text(sheet.svg(), encoding="utf-8")
        print(f"{path.stat().st_size:>7,} bytes  {path.relative_to(FOLDER.parent.parent)}")


if __name__ == "__main__":
    main()

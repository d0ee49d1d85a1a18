"""The series and the run directory: which notebook writes and reads which file."""

from __future__ import annotations

from docs.drawings.paper import SIDE, WIDTH, Drawing
from helpers.show.words import N_, _

NOTEBOOKS = {
    "00": N_("Plan"),
    "01": N_("Check"),
    "02": N_("Log in"),
    "03": N_("Data"),
    "04": N_("Train"),
    "05": N_("Merge"),
    "06": N_("Compare"),
    "07": N_("Serve"),
    "08": N_("Runs"),
    "09": N_("Rows"),
}
# file of the run directory: the notebooks that write it, those that read it. Seen with inotify while preset tiny ran
# (2026-11-25); 08 and 09 from their heads. 06 also reads what it packs.
FILES = {
    "config.json": ("00 03", "04 05 06 07 08 09"),
    "data/": ("03", "04 05 06 07 09"),
    "data_report.json": ("03", "04 06"),
    "trainer/": ("04", "09"),
    "metrics.jsonl": ("04", "06 08"),
    "held_out.json": ("04", "08 09"),
    "adapter/": ("04", "05 06 07 09"),
    "merged/": ("05", "06 07"),
    "merge_report.json": ("05", "06"),
    "measured.json": ("05", "06"),
    "comparisons.jsonl": ("06", ""),
    "evaluation.json": ("06", "08 09"),
    "report.html": ("06", ""),
    "gguf/": ("07", ""),
}
FIRST, TOP, ROW = 286, 206, 40  # x of 00; y of the first file; height of a row


def draw() -> Drawing:
    names = list(NOTEBOOKS)
    step = (WIDTH - SIDE - 36 - FIRST) / (len(names) - 1)
    by_whom = _("{file} by {notebooks}")
    pairs = [(file, by.replace(" ", _(" and "))) for file, (by, _readers) in FILES.items()]
    alt = _(
        "A map of the series: a column for each notebook from 00 to 09, a row for each file of the run directory. A "
        "square marks the notebook that writes the file, a ring each notebook that reads it. Written: {written}."
    ).format(written="; ".join(by_whom.format(file=file, notebooks=books) for file, books in pairs))
    sheet = Drawing("series_map", alt, TOP + ROW * len(FILES) + 66)

    def x(number: str) -> float:
        return FIRST + step * names.index(number)

    sheet.head(_("The series, and what passes through the run directory"))
    bottom = TOP + ROW * (len(FILES) - 1) + 22
    for number, name in NOTEBOOKS.items():
        sheet.path([(x(number), TOP - 40), (x(number), bottom)], "rule", 1.5)
        sheet.circle(x(number), TOP - 88, 22, "blue-wash", "blue", 2.5)
        sheet.text(x(number), TOP - 81, number, 19, anchor="middle", bold=True)
        sheet.text(x(number), TOP - 46, _(name), 16, anchor="middle")
    for here, there in zip(names, names[1:], strict=False):
        sheet.path([(x(here) + 24, TOP - 88), (x(there) - 24, TOP - 88)], "blue", 3)
    for row, (file, (by, readers)) in enumerate(FILES.items()):
        y, writers, reading = TOP + ROW * row, by.split(), readers.split()
        sheet.text(SIDE, y + 6, file, 17, mono=True)
        last = max([*writers, *reading])
        if last != writers[0]:
            sheet.path([(x(writers[0]), y), (x(last), y)], "green", 3)
        for number in writers:
            sheet.box(x(number) - 10, y - 10, 20, 20, "green", radius=4)
        for number in reading:
            sheet.circle(x(number), y, 9, "paper", "green", 3.5)
    y = bottom + 40
    sheet.box(SIDE, y - 16, 20, 20, "green", radius=4)
    sheet.text(SIDE + 32, y, _("writes"), 17)
    sheet.circle(SIDE + 132, y - 6, 9, "paper", "green", 3.5)
    sheet.text(SIDE + 152, y, _("reads"), 17)
    told = _("Nothing passes from notebook to notebook but these files: each opens alone.")
    sheet.text(WIDTH - SIDE, y, told, 16, "soft", "end")
    return sheet

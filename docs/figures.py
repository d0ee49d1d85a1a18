"""Numbers of the executed demo that pages and README quote: `15<!--first.right-->` in a text cell is the demo's own 15.

python -m docs.figures    writes the numbers of docs/gallery into all of them, English and Korean
"""

from __future__ import annotations

import functools
import html
import re
from pathlib import Path

from helpers.compare.overfit import overfit_told
from helpers.files import write_atomic
from helpers.paths import PROJECT_ROOT
from helpers.show.words import in_language
from helpers.translate import HEAD, english, fingerprint, translated

GALLERY, NOTEBOOKS = PROJECT_ROOT / "docs" / "gallery", PROJECT_ROOT / "notebooks"
README = PROJECT_ROOT / "README.md"
QUOTED = re.compile(r"([+-]?\d[\d,]*(?:\.\d+)?)<!--([a-z0-9_.]+)-->")
DIGITS = r"[\d,]+(?:\.\d+)?"
NUMBER = rf"({DIGITS})"
SIGNED = rf"([+-]{DIGITS})"  # where a sentence does not say which way
# name: the page of the gallery, and where the number stands in what is printed there; " | " ends the cell of a table
FIGURES = {
    "first.before": ("00_first_look", rf"{NUMBER} of 20 before ->"),
    "first.right": ("00_first_look", rf"-> {NUMBER} of 20 after"),
    "plan.need": ("00_plan", rf"The plan counts {NUMBER} GB"),
    "plan.parameters": ("00_plan", rf"vocabulary \| \n{NUMBER} \|"),
    "plan.trained": ("00_plan", rf"vocabulary \| \n[\d,]+ \| [\d,]+ \| {NUMBER} \|"),
    "data.tokens_en": ("03_data_preview", rf"lovely today\. \| {NUMBER} \|"),
    "data.tokens_ko": ("03_data_preview", rf"참 좋네요\. \| {NUMBER} \|"),
    "data.learned": ("03_data_preview", rf"share of tokens learned \| ok \| {NUMBER}%"),
    "data.longest": ("03_data_preview", rf"\(now\) \|(?: [^|]+\|)*? {NUMBER} \| \n"),
    "train.rows": ("04_qlora_training", rf"{NUMBER} rows to train on"),
    "train.held_out": ("04_qlora_training", rf"rows to train on, {NUMBER} held out"),
    "train.start": ("04_qlora_training", rf"held-out loss, first and last \| {NUMBER} ->"),
    "train.end": ("04_qlora_training", rf"held-out loss, first and last \| [\d.]+ -> {NUMBER} \|"),
    "train.last": ("04_qlora_training", rf"\nsteps \| {NUMBER} \|"),
    "merge.base": ("05_merge_and_push", rf"NLL: base {NUMBER}, adapter"),
    "merge.adapter": ("05_merge_and_push", rf"NLL: base [\d.]+, adapter {NUMBER}\n"),
    "merge.rounded": ("05_merge_and_push", rf"merged in 4 bits {NUMBER}\n"),
    "merge.times": ("05_merge_and_push", rf"rounding error of 4 bits is [\d.]+: {NUMBER} times"),
    "merge.gain": ("05_merge_and_push", rf"requantised merge: [\d.]+ of the {NUMBER} nats"),
    "merge.kept_rounded": ("05_merge_and_push", rf"requantised merge: {NUMBER} of the"),
    "merge.kept_16bit": ("05_merge_and_push", rf"16bit-base, read in 4 bits: {NUMBER} of the"),
    "compare.better": ("06_evaluation", rf"adapter against base \| NLL per token \| -{NUMBER} \|"),
    "compare.english": ("06_evaluation", rf"adapter against base \| English \| \+{NUMBER} \|"),
    "compare.knew": ("06_evaluation", rf"the base answers {NUMBER}, this model"),
    "compare.knows": ("06_evaluation", rf"the base answers \d+, this model {NUMBER}:"),
    "compare.exact": ("06_evaluation", rf"\nexact \| [^|]+\| {NUMBER}% of"),
    "compare.exact_base": ("06_evaluation", rf"\nexact \| {NUMBER}% of"),
    "compare.exact_merged": ("06_evaluation", rf"\nexact \| [^|]+\|[^|]+\| {NUMBER}% of"),
    "compare.rules": ("06_evaluation", rf"\nexact \| [^|]+\|[^|]+\|[^|]+\| {NUMBER}% of"),
    "compare.base": ("06_evaluation", rf"\nbase \| {NUMBER} \|"),
    "compare.adapter": ("06_evaluation", rf"\nadapter \| {NUMBER} \|"),
    "compare.merged": ("06_evaluation", rf"\nmerged \| {NUMBER} \|"),
    "compare.tokens": ("06_evaluation", rf"held-out conversations \({NUMBER} answer tokens\)"),
    "compare.json_base": ("06_evaluation", rf"\nvalid_json \| {NUMBER}% of"),
    "compare.json_adapter": ("06_evaluation", rf"\nvalid_json \| [^|]+\| {NUMBER}% of"),
    "compare.json_merged": ("06_evaluation", rf"\nvalid_json \| [^|]+\|[^|]+\| {NUMBER}% of"),
    "compare.json_rules": ("06_evaluation", rf"\nvalid_json \| [^|]+\|[^|]+\|[^|]+\| {NUMBER}% of"),
    "compare.new": ("06_evaluation", rf"calendar-once \| [^|]+\| {NUMBER} of 12"),
    "serve.f16": ("07_serve", rf"model-f16\.gguf \| {NUMBER} MB"),
    "serve.q8": ("07_serve", rf"model-q8_0\.gguf \| {NUMBER} MB"),
    "serve.q4": ("07_serve", rf"model-q4_k_m\.gguf \| {NUMBER} MB"),
    "serve.f16_more": ("07_serve", rf"model-f16\.gguf \| [^|]+\| [^|]+\| {SIGNED} \|"),
    "serve.q8_more": ("07_serve", rf"model-q8_0\.gguf \| [^|]+\| [^|]+\| {SIGNED} \|"),
    "serve.q4_more": ("07_serve", rf"model-q4_k_m\.gguf \| [^|]+\| [^|]+\| {SIGNED} \|"),
    "serve.q4_same": ("07_serve", rf"model-q4_k_m\.gguf \| [^|]+\| [^|]+\| [^|]+\| {NUMBER} of"),
    "serve.tokens": ("07_serve", rf"model-q4_k_m\.gguf \| [^|]+\| [^|]+\| [^|]+\| \d+ of {NUMBER} \|"),
    "serve.adapter": ("07_serve", rf"adapter-f16\.gguf {NUMBER} MB"),
    "overfit.step": ("overfit", rf"lowest at step {NUMBER},"),
    "overfit.lowest": ("overfit", rf"lowest at step \d+, {NUMBER},"),
    "overfit.end": ("overfit", rf", and {NUMBER} at step"),
    "rows.marked": ("09_data_that_counts", rf"{NUMBER} of \d+ rows are marked"),
    "rows.all": ("09_data_that_counts", rf"\d+ of {NUMBER} rows are marked"),
}


@functools.cache
def printed(page: str) -> str:
    """What a page of the gallery shows, as plain text; "overfit": what is said of the stored run of 08."""
    if page == "overfit":
        with in_language("en"):
            return overfit_told()
    text = re.sub(r"(?s)<style.*?</style>|<img[^>]*>", "", (GALLERY / f"{page}.html").read_text(encoding="utf-8"))
    text = re.sub(r"</tr>|</p>|<br>|</div>|</pre>|</li>", "\n", re.sub(r"</t[dh]>", " | ", text))
    return re.sub(r"\n\s*\n+", "\n", html.unescape(re.sub(r"<[^>]+>", "", text)))


def figure(name: str) -> str:
    """The number `name` as the demo printed it. Raises KeyError for another name, ValueError where it is not there."""
    page, pattern = FIGURES[name]
    if not (found := re.search(pattern, printed(page))):
        raise ValueError(f"docs/gallery/{page}.html has no {name} ({pattern}): mend FIGURES, or make the gallery anew.")
    return found[1]


def with_figures(text: str) -> str:
    """`text` with the demo's numbers of today."""
    return QUOTED.sub(lambda quoted: f"{figure(quoted[2])}<!--{quoted[2]}-->", text)


def quoting() -> list[tuple[Path, Path]]:
    """Every English file that may quote the demo, with its Korean twin."""
    pages = [(page, NOTEBOOKS / "ko" / f"{page.stem}.md") for page in sorted(NOTEBOOKS.glob("*.ipynb"))]
    return [*pages, (README, README.with_suffix(".ko.md"))]


def fill() -> list[Path]:
    """Write today's numbers into all pages; those that changed. A translation that was up to date stays so."""
    changed = []
    for page, twin in quoting():
        old, korean = page.read_text(encoding="utf-8"), twin.read_text(encoding="utf-8")
        new, blocks = with_figures(old), translated(twin)
        was, now = ({name: fingerprint(text) for name, text in english(page, whole).items()} for whole in (old, new))

        def head(found: re.Match, was=was, now=now, blocks=blocks) -> str:
            """The head of a block that was up to date, and signed if it was, with the hashes of today."""
            name, block = found[1], blocks[found[1]]
            if was.get(name) != block.english:
                return found[0]
            both = fingerprint(now[name] + with_figures(block.text)) if block.signed else block.both
            return f"<!-- {name} en:{now[name]}{f' ko:{both}' if both else ''} -->"

        told = re.sub(HEAD, head, with_figures(korean))
        for file, before, after in ((page, old, new), (twin, korean, told)):
            if before != after:
                write_atomic(file, after)
                changed.append(file)
    return changed


if __name__ == "__main__":
    print(*[path.relative_to(PROJECT_ROOT) for path in fill()] or ["Every number is that of the gallery."], sep="\n")

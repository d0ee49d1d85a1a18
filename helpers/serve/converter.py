"""Runs one of llama.cpp's own converters, in a process of its own: `python converter.py FOLDER SCRIPT ARGUMENTS...`.

The converter knows a byte-level tokenizer by a hash of what it does to one text, so one that was trained at home is
refused. Where tokenizer.json says that it splits text as GPT-2 does, that name is given here; `gguf.py` compares the
token ids of the finished file, so a wrong name could not pass.
"""

import runpy
import sys
from pathlib import Path

from helpers.files import read_json


def splits_as_gpt2(folder: Path) -> bool:
    """True when tokenizer.json cuts with GPT-2's own pattern and nothing else."""
    steps = read_json(folder / "tokenizer.json").get("pre_tokenizer") or {}
    return steps.get("type") == "ByteLevel" and steps.get("use_regex", True) and not steps.get("add_prefix_space")


def main() -> None:
    folder, script = Path(sys.argv[1]), sys.argv[2]
    sys.path[0:1] = [str(folder), str(folder / "gguf-py")]  # not this file's folder: its modules have other names
    sys.argv = sys.argv[2:]
    from conversion.base import TextModel

    recognise = TextModel.get_vocab_base_pre

    def recognise_or_gpt2(self, tokenizer):
        try:
            return recognise(self, tokenizer)
        except NotImplementedError:
            if not splits_as_gpt2(self.dir_model):
                raise
            return "gpt-2"

    TextModel.get_vocab_base_pre = recognise_or_gpt2
    runpy.run_path(str(folder / script), run_name="__main__")


if __name__ == "__main__":
    main()

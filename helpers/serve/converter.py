"""Runs one of llama.cpp's converters, in a process of its own: `python converter.py FOLDER KEYS SCRIPT ARGUMENTS...`.

Three things are changed before it runs. A byte-level tokenizer that was trained at home, which it knows by no hash,
gets GPT-2's name where tokenizer.json says that it splits text so (a wrong name could not pass `checks`). No code of
the model's runs. And the file gets the flags and stop tokens in KEYS (JSON), by which other programs run it.
"""

import json
import runpy
import sys
from pathlib import Path

from helpers.files import read_json


def splits_as_gpt2(folder: Path) -> bool:
    """True when tokenizer.json cuts with GPT-2's own pattern and nothing else."""
    steps = read_json(folder / "tokenizer.json").get("pre_tokenizer") or {}
    return steps.get("type") == "ByteLevel" and steps.get("use_regex", True) and not steps.get("add_prefix_space")


def know_gpt2() -> None:
    from conversion.base import TextModel  # pyright: ignore[reportMissingImports]

    recognise = TextModel.get_vocab_base_pre

    def recognise_or_gpt2(self, tokenizer):
        try:
            return recognise(self, tokenizer)
        except NotImplementedError:
            if not splits_as_gpt2(self.dir_model):
                raise
            return "gpt-2"

    TextModel.get_vocab_base_pre = recognise_or_gpt2


def trust_nothing() -> None:
    import transformers

    for name in ("AutoConfig", "AutoTokenizer", "AutoModel", "AutoProcessor"):
        kind = getattr(transformers, name)

        def from_pretrained(*given, load=kind.from_pretrained, **keywords):
            return load(*given, **{**keywords, "trust_remote_code": False})

        kind.from_pretrained = from_pretrained


def write_keys(flags: dict[str, bool], stops: list[int]) -> None:
    """`flags` into every file with a vocabulary; each of `stops` that is not its EOS ends a turn or a message."""
    import gguf

    names, write_header = gguf.Keys.Tokenizer, gguf.GGUFWriter.write_header_to_file

    def with_keys(self, path=None):
        fields = self.kv_data[0]
        if names.LIST in fields:
            for name, value in flags.items():
                fields[name] = gguf.gguf_writer.GGUFValue(value, gguf.GGUFValueType.BOOL)
            values = {key: fields[key].value for key in (names.EOS_ID, names.EOT_ID, names.EOM_ID) if key in fields}
            free = [key for key in (names.EOT_ID, names.EOM_ID) if values.get(key) not in stops]
            free.sort(key=values.__contains__)  # one that says nothing first
            for key, stop in zip(free, [stop for stop in stops if stop not in values.values()], strict=False):
                fields[key] = gguf.gguf_writer.GGUFValue(stop, gguf.GGUFValueType.UINT32)
        write_header(self, path)

    gguf.GGUFWriter.write_header_to_file = with_keys


def main() -> None:
    folder, keys, script = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
    sys.path[0:1] = [str(folder), str(folder / "gguf-py")]  # not this file's folder: its modules have other names
    sys.argv = sys.argv[3:]
    know_gpt2()
    trust_nothing()
    write_keys(**keys)
    runpy.run_path(str(folder / script), run_name="__main__")


if __name__ == "__main__":
    main()

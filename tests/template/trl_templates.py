"""The chat templates that TRL ships, each on a byte-level tokenizer that holds the template's own control tokens."""

import functools
import importlib.util
import re
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

FOLDER = Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
TWINS = {path.stem.removesuffix("_training"): path for path in sorted(FOLDER.glob("*_training.jinja"))}
ORIGINALS = {path.stem: path for path in sorted(FOLDER.glob("*.jinja")) if not path.stem.endswith("_training")}
CONTROL = re.compile(
    r"<[|｜][^|｜<>\s']+[|｜]>|<\|[a-z_]+>|<[a-z_]+\|>|</?[a-z_]+>|\[/?[A-Z_]+\]|</?s>|\[gMASK\]|<sop>"
)


@functools.cache
def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer with the original template `name`; one token a byte, one a control token."""
    template = ORIGINALS[name].read_text(encoding="utf-8")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    ending = {"gptoss": "<|return|>", "muse_glimmer": "<|eot|>"}.get(name, "</s>")
    known = sorted({*CONTROL.findall(template), "<s>", "</s>", ending})
    plain = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tools>", "</tools>")
    special = {"bos_token": "<s>", "eos_token": ending, "pad_token": ending}
    special["additional_special_tokens"] = [token for token in known if token not in plain]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **special)

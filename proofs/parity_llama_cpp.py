"""Does llama.cpp's own server write the prompts of the training template? Not run by the tests; its result is below.

07 gives llama.cpp the rendered prompt, and measures tokens, NLL and replies. Whoever starts `llama-server` sends
messages, and the server fills in the template of the file with an engine of its own, which this script compares with
jinja2:

    python -m proofs.parity_llama_cpp [MERGED_FOLDER MODEL.gguf]     # without arguments: the two models of the tests

2026-11-25, 2-core AMD EPYC CPU, xllamacpp 2026.10.11549: the same prompt for 17 of 17 conversations (questions, three
turns, the same with a system turn) with each of four models: SentencePiece, thinking, a merged tiny model, the demo's
base.
"""

import sys
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

from helpers.evaluate.prompts import fixed_prompts
from helpers.serve.gguf import convert
from helpers.serve.server import llama_server, post
from helpers.template.chat import fold_system, render
from tests.serve.models import TALKS, llama, sentencepiece, thinking

SYSTEM = {"role": "system", "content": "짧게 답하세요."}
PAST = [{"role": "assistant", "content": "네, 그래요."}, {"role": "user", "content": '"왜"요? {{ x }} <b>'}]


def same_prompts(tokenizer, file: Path) -> tuple[int, int]:
    """How many conversations the server renders as `tokenizer` does, and of how many; BOS is left out, it adds its
    own."""
    same, bos = 0, tokenizer.bos_token or ""
    talks = [*fixed_prompts(), *TALKS, *([*talk, *PAST] for talk in TALKS), *([SYSTEM, *talk, *PAST] for talk in TALKS)]
    with llama_server(file, 512) as address:
        for talk in talks:
            messages = fold_system(tokenizer, talk)
            text = post(address, "apply-template", {"messages": messages})["prompt"]
            wanted = render(tokenizer, messages, add_generation_prompt=True)
            same += text.removeprefix(bos) == wanted.removeprefix(bos)
            if text.removeprefix(bos) != wanted.removeprefix(bos):
                print(f"  llama.cpp {text!r}\n  jinja2    {wanted!r}")
    return same, len(talks)


def main() -> int:
    if sys.argv[1:]:
        models = {sys.argv[1]: (AutoTokenizer.from_pretrained(sys.argv[1]), Path(sys.argv[2]))}
    else:
        folder, models = Path(tempfile.mkdtemp()), {}
        bases = {"SentencePiece": str(folder / "base"), "thinking": ""}
        for name, tokenizer in (("SentencePiece", sentencepiece(folder / "base")), ("thinking", thinking())):
            texts = [render(tokenizer, talk, add_generation_prompt=True) for talk in TALKS]
            merged = llama(folder / name, tokenizer)
            file = convert(merged, folder / f"{name}.gguf", tokenizer, texts, bases[name])
            models[name] = tokenizer, file
    wrong = 0
    for name, (tokenizer, file) in models.items():
        same, count = same_prompts(tokenizer, file)
        print(f"{name}: the same prompt for {same} of {count} conversations")
        wrong += count - same
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

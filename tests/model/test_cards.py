"""Which GPU is used, and who holds its memory: a machine with GPUs is imitated, the processes are real."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from helpers.model import cards
from helpers.model.quantization import device_map
from helpers.settings import RunConfig

CONFIG = RunConfig.load("tiny")


@pytest.fixture
def two_cards(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def test_of_two_cards_the_first_is_used_and_it_is_said(two_cards, monkeypatch):
    assert cards.use_cards(CONFIG).startswith("GPU 0, the first of 2;")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5f,GPU-7a")
    assert "GPU GPU-5f, the first of 2" in cards.use_cards(CONFIG)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-5f"


def test_a_process_of_several_and_a_split_model_see_all_cards(two_cards, monkeypatch):
    assert "all 2 GPUs" in cards.use_cards(replace(CONFIG, split_model=True))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cards.use_cards(CONFIG) == "one GPU"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_no_card_and_one_card(monkeypatch):
    assert cards.use_cards(CONFIG) == "the CPU"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert cards.use_cards(CONFIG) == "one GPU" and device_map(replace(CONFIG, split_model=True)) == {"": "cpu"}


def test_a_split_model_goes_over_all_cards_of_one_process(two_cards):
    assert device_map(replace(CONFIG, split_model=True)) == "auto" and device_map(CONFIG) == {"": "cpu"}


def test_who_holds_a_card_is_named_by_its_notebook(tmp_path, monkeypatch):
    """Two processes have a file open that stands for a GPU's; Jupyter told one of them its notebook."""
    device = tmp_path / "nvidia0"
    device.write_text("")
    code = f"import time; file = open({str(device)!r}); print('open', flush=True); time.sleep(600)"
    named = {**os.environ, "JPY_SESSION_NAME": "notebooks/04_qlora_training.ipynb"}
    plain = {name: value for name, value in os.environ.items() if name != "JPY_SESSION_NAME"}
    both = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True)
        for env in (named, plain)
    ]
    with open(device):  # this process has it open too, and is not named
        assert [process.stdout.readline() for process in both] == ["open\n"] * 2
        told = cards.holders(str(tmp_path / "nvidia"))
        assert f"the kernel of 04_qlora_training.ipynb (process {both[0].pid})" in told and len(told) == 2
        assert any(f"(process {both[1].pid})" in one and "kernel" not in one for one in told)

        # the tiny model needs 2 bytes for each of its parameters, and ROOM for the work
        needed = cards.ROOM * cards.weight_bytes(CONFIG)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 0)
        holders = cards.holders
        monkeypatch.setattr(cards, "holders", lambda: holders(str(tmp_path / "nvidia")))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (needed + 1, 24 * 10**9))
        cards.require_room(CONFIG)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (needed - 1, 24 * 10**9))
        with pytest.raises(MemoryError, match=r"of 24 GB are free.*the kernel of 04_qlora_training\.ipynb .*shut down"):
            cards.require_room(CONFIG)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 2)  # this kernel's own, which it can use again
        cards.require_room(CONFIG)
    for process in both:
        process.kill()
        process.wait()


def test_bytes_of_the_model_are_counted_without_its_weights():
    from helpers.model.quantization import load_base_model

    model = load_base_model(CONFIG, four_bit=False)
    assert cards.weight_bytes(CONFIG) == 2 * sum(parameter.numel() for parameter in model.parameters())

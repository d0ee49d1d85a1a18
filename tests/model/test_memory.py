"""Which GPU is used, and who holds its memory: a machine with GPUs is imitated, the processes are real."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from helpers.model import memory
from helpers.model.device import device_map, use_cards
from helpers.settings import RunConfig

CONFIG = RunConfig.load("tiny")


@pytest.fixture
def two_cards(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def test_of_two_cards_the_first_is_used_and_it_is_said(two_cards, monkeypatch):
    assert use_cards(CONFIG).startswith("GPU 0, the first of 2;")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5f,GPU-7a")
    assert "GPU GPU-5f, the first of 2" in use_cards(CONFIG)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-5f"


def test_a_process_of_several_and_a_split_model_see_all_cards(two_cards, monkeypatch):
    assert "all 2 GPUs" in use_cards(replace(CONFIG, split_model=True))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert use_cards(CONFIG) == "one GPU"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_no_card_and_one_card(monkeypatch):
    assert use_cards(CONFIG) == "the CPU"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert use_cards(CONFIG) == "one GPU" and device_map(replace(CONFIG, split_model=True)) == {"": "cpu"}


def test_a_split_model_goes_over_all_cards_of_one_process(two_cards):
    assert device_map(replace(CONFIG, split_model=True)) == "auto" and device_map(CONFIG) == {"": "cpu"}


def test_who_holds_a_card_is_named_by_its_notebook(tmp_path, monkeypatch):
    """Two processes have a file open that stands for a GPU's; Jupyter told one of them its notebook."""
    device = tmp_path / "nvidia0"
    device.write_text("")
    code = f"import time; file = open({str(device)!r}); print('open', flush=True); time.sleep(600)"
    named = {**os.environ, "JPY_SESSION_NAME": "notebooks/04_qlora_training.ipynb"}
    plain = {name: value for name, value in os.environ.items() if name != "JPY_SESSION_NAME"}
    start = {"stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([sys.executable, "-c", code], env=env, **start) for env in (named, plain)]
    with open(device):  # this process has it open too, and is not named
        assert [process.stdout.readline() for process in both] == ["open\n"] * 2
        told = memory.holders(str(tmp_path / "nvidia"))
        assert f"the kernel of 04_qlora_training.ipynb (process {both[0].pid})" in told and len(told) == 2
        assert any(f"(process {both[1].pid})" in one and "kernel" not in one for one in told)

        # the tiny model needs 2 bytes for each of its parameters, and ROOM for the work
        needed = memory.ROOM * memory.weight_bytes(CONFIG)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 0)
        holders = memory.holders
        monkeypatch.setattr(memory, "holders", lambda: holders(str(tmp_path / "nvidia")))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (needed + 1, 24 * 10**9))
        memory.require_room(CONFIG)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (needed - 1, 24 * 10**9))
        with pytest.raises(MemoryError, match=r"of 24 GB are free.*the kernel of 04_qlora_training\.ipynb .*shut down"):
            memory.require_room(CONFIG)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 2)  # this kernel's own, which it can use again
        memory.require_room(CONFIG)
    for process in both:
        process.kill()
        process.wait()


def test_bytes_of_the_model_are_counted_without_its_weights():
    from helpers.model.load import load_base_model

    model = load_base_model(CONFIG, four_bit=False)
    assert memory.weight_bytes(CONFIG) == 2 * sum(parameter.numel() for parameter in model.parameters())


GB = 10**9
VERSIONS = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"), 2: ("memory.max", "memory.current", "")}


def group(folder, version, limit, used, files=0):
    """A control group's files; `files`: its pages of files, which the system drops, beside as many of a tmpfs."""
    folder.mkdir(parents=True, exist_ok=True)
    names = VERSIONS[version]
    for name, number in zip(names, (limit, used), strict=False):
        (folder / name).write_text(f"{number}\n")
    kinds = f"{names[2]}active_file {files // 2}\n{names[2]}inactive_file {files - files // 2}\n"
    (folder / "memory.stat").write_text(f"{names[2]}shmem {files}\n{kinds}")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("groups", "left"),
    [
        ({"": (8, 5, 1)}, 4),
        ({"": (8, 6.5, 0)}, 1.5),
        ({"": ("max", 5, 1)}, float("inf")),
        ({}, float("inf")),
        ({"": ("max", 9, 0), "pod": (6, 5, 2), "pod/mine": ("max", 1, 0)}, 3),  # the limit stands above the own group
        ({"": (64, 9, 0), "pod": (32, 8, 0), "pod/mine": (4, 3, 1)}, 2),
        ({"": (4, 5, 0)}, 0),  # over a limit that was lowered
    ],
    ids=str,
)
def test_the_containers_limit_counts_with_what_is_in_use_taken_off(tmp_path, version, groups, left):
    mount = tmp_path / "memory" if version == 1 else tmp_path
    for path, (limit, used, files) in groups.items():
        group(mount / path, version, limit if limit == "max" else int(limit * GB), int(used * GB), files * GB)
    own = tmp_path / "own"
    own.write_text("9:name=systemd:/\n4:cpu,memory:/pod/mine\n" if version == 1 else "0::/../pod/mine\n")
    assert memory.left_in_container(tmp_path, own) == (left if left == float("inf") else left * GB)


def test_free_memory_and_the_check_of_01_are_one_number(monkeypatch):
    """A4 of the review: one trusted the limit, the other took off what is in use."""
    from helpers.machine.checks import check_ram

    monkeypatch.setattr(memory, "left_in_container", lambda: 1.5 * GB)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("M", (), {"available": 50 * GB, "total": 64 * GB}))
    assert memory.free_memory(torch.device("cpu")) == 1.5 * GB
    assert check_ram(CONFIG).detail.startswith("1.5 GB available")

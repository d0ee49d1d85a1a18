"""The proof for a GPU, run in small on this machine, so that it is not broken when a card comes. (Its resume part is
what tests/train/test_training.py shows, in more detail.)"""

import json
import math

import pytest

from proofs import gpu_proof


@pytest.mark.parametrize("part", ["memory", "speed", "fp16", "merge", "answers"])
@pytest.mark.slow
def test_each_part_runs_in_small(part, tmp_path):
    rows = getattr(gpu_proof, part)(True, str(tmp_path))
    json.dumps(rows)
    numbers = [value for row in rows for value in row.values() if isinstance(value, float)]
    assert rows and all(math.isfinite(number) for number in numbers)
    if part == "speed":
        assert len(rows) == len(gpu_proof.SPEEDS) - 1 and all(row["tokens/s"] > 0 for row in rows)


def test_a_part_that_fails_is_told_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    def run(command, **options):
        part = command[command.index("--part") + 1]
        code = (
            'import sys; print("loading"); print(\'[{"tokens": 1}]\')'
            if part == "checks"
            else "raise MemoryError('no room')"
        )
        return real([command[0], "-c", code], **options)

    real = gpu_proof.subprocess.run
    monkeypatch.setattr(gpu_proof, "machine", lambda: {"device": "CPU", "driver": "none"})
    monkeypatch.setattr(gpu_proof.subprocess, "run", run)
    file = tmp_path / "proof.json"
    monkeypatch.setattr("sys.argv", ["gpu_proof", "--small", "--only", "checks", "merge", "--json", str(file)])
    assert gpu_proof.main() == 1
    told = json.loads(file.read_text())
    assert told["checks"] == [{"tokens": 1}] and told["failed"] == ["merge"] and "goals" not in told
    assert "merge: FAILED" in (out := capsys.readouterr().out) and "MemoryError: no room" in out


def test_the_goals_are_read_from_the_numbers():
    speed = [{"variant": "TRL as it comes", "tokens/s": 100}, {"variant": "ours", "tokens/s": 150}]
    speed += [{"variant": "ours, 16-bit LoRA", "tokens/s": 150 / 0.78}]
    memory = [{"off": 0.1, "allocated": 8.2 * 2**30}, {"off": -0.1, "allocated": 1}]
    assert all(met({"speed": speed, "memory": memory}) for met in gpu_proof.GOALS.values())
    speed[1]["tokens/s"], memory[0]["allocated"], memory[1]["off"] = 149, 8.3 * 2**30, -0.11
    assert not any(met({"speed": speed, "memory": memory}) for met in gpu_proof.GOALS.values())

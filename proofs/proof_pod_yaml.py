"""pod.yaml by SkyPilot's own parser, optimizer and dry run, without an account. By hand, in an environment of its own:

    python3 -m venv /tmp/sky && /tmp/sky/bin/pip install "skypilot[runpod]==0.14.1" && /tmp/sky/bin/python -m
    proofs.proof_pod_yaml

It asks for `rsync` and an ssh client. The whole series, and then the four jobs of a sweep as
`helpers.compare.choices.pods` prints them: each is a job of its own with its own run name, and the first line of `run`
makes that fork (here, on this machine).

Result of 2026-11-25, SkyPilot 0.14.1, Python 3.11: five times "Dryrun finished.", the L4 chosen as the cheapest of the
three; forks of learning rate 0.0003 and 0.001 with rank 4 and 16. That a card is really rented and the volume really
mounted is not shown by this.

The price list is three rows of our own (SkyPilot downloads its own), RunPod counts as enabled, and the volume is left
out of the dry run: it would have to be there.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers.compare.choices import pods
from helpers.runs import RunDir
from helpers.settings import RunConfig

POD = Path(__file__).resolve().parent.parent / "pod.yaml"
GPUS = {"RTX3090": 0.46, "RTX4090": 0.69, "L4": 0.43}
HEAD = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Region,SpotPrice,Price,AvailabilityZone,GpuInfo\n"
ROW = "1x_{0}_SECURE,{0},1.0,8.0,30.0,US,{1},{1},US-CA-2,\"{{'Gpus': [], 'TotalGpuMemoryInMiB': 24}}\"\n"


def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="pod-yaml-"))
    os.environ["HOME"] = str(home)
    for name, text in (
        ("runpod/vms.csv", HEAD + "".join(ROW.format(*gpu) for gpu in GPUS.items())),
        ("common/accelerators.csv", "AcceleratorName,Clouds\n" + "".join(f"{gpu},RunPod\n" for gpu in GPUS)),
    ):
        path = home / ".sky" / "catalogs" / "v8" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)

    import sky
    from sky import check, clouds, execution

    check.get_cached_enabled_clouds_or_refresh = lambda *args, **kwargs: [clouds.RunPod()]

    def dry_run(name: str, envs: dict) -> sky.Task:
        task = sky.Task.from_yaml(str(POD))
        assert task.volumes == {"/workspace": "qlora"} and set(task.envs) >= {
            "QLORA_PRESET",
            "QLORA_RUNS_DIR",
            "HF_HOME",
        }
        assert {next(iter(resource.accelerators)) for resource in task.resources} == set(GPUS)
        assert all(resource.autostop_config.down for resource in task.resources)
        assert envs.keys() <= set(task.envs), "an --env that pod.yaml does not know"
        task.update_envs(envs)
        task.set_volumes({})
        execution.launch(task, cluster_name=name, dryrun=True)
        return task

    dry_run("qlora", {"QLORA_PRESET": "demo"})
    print(f"{POD.name} is accepted.")

    os.environ["QLORA_RUNS_DIR"] = str(home / "runs")
    demo = RunDir.open(RunConfig.load("demo"))
    demo.save_config(RunConfig.load("demo"))
    for file in (demo.train_jsonl, demo.eval_jsonl, demo.data_report):
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")
    for line in pods("demo", learning_rate=[3e-4, 1e-3], lora_r=[4, 16]):
        words = shlex.split(line)
        envs = dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "--env")
        task = dry_run(words[words.index("-c") + 1], envs)
        first = task.run.splitlines()[0].replace(".venv/bin/python", sys.executable)
        subprocess.run(["bash", "-c", first], check=True, cwd=POD.parent, env={**os.environ, **envs})
        made = RunDir(demo.path.parent / envs["QLORA_RUN_NAME"]).stored_config()
        print(f"{words[words.index('-c') + 1]}: learning rate {made.learning_rate:g}, rank {made.lora_r}")


if __name__ == "__main__":
    main()

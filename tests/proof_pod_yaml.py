"""pod.yaml by SkyPilot's own parser, optimizer and dry run, without an account. By hand, in an environment of its own:

    python3 -m venv /tmp/sky && /tmp/sky/bin/pip install "skypilot[runpod]==0.14.1" && /tmp/sky/bin/python tests/proof_pod_yaml.py

It asks for `rsync` and an ssh client. Result of 2026-11-25, SkyPilot 0.14.1, Python 3.11: "Dryrun finished.", the L4 chosen as
the cheapest of the three. That the card is really rented and the volume really mounted is not shown by this.

The price list is three rows of our own (SkyPilot downloads its own), RunPod counts as enabled, and the volume is left out of
the dry run: it would have to be there.
"""

import os
import tempfile
from pathlib import Path

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
    task = sky.Task.from_yaml(str(POD))
    assert task.volumes == {"/workspace": "qlora"} and set(task.envs) >= {"QLORA_PRESET", "QLORA_RUNS_DIR", "HF_HOME"}
    assert {next(iter(resource.accelerators)) for resource in task.resources} == set(GPUS)
    assert all(resource.autostop_config.down for resource in task.resources)
    task.update_envs({"QLORA_PRESET": "demo"})
    task.set_volumes({})
    execution.launch(task, cluster_name="qlora", dryrun=True)
    print(f"{POD.name} is accepted.")


if __name__ == "__main__":
    main()

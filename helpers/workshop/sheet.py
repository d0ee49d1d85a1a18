"""What a workshop costs and downloads, as a table.

python -m helpers.workshop.sheet --people 25 --hours 3.5 --price 0.29 [--preset llama2-7b]

Every price is yours to give: the defaults of disk and volume are those of docs.runpod.io/pods/storage as it stood on
2026-11-25 (container disk $0.10, network volume $0.07 per GB and month); look them up on the day.
"""

from __future__ import annotations

import argparse
import sys

from helpers.settings import PRESETS, RunConfig
from helpers.show.tables import Table
from helpers.show.units import human_bytes

HOURS_OF_A_MONTH = 730
PACKAGES = 2.2e9  # bytes that setup_kernel.sh downloads with a CPU build of torch; a pod's image brings its own torch


def base_bytes(config: RunConfig) -> float:
    """Bytes of the base model's 16-bit weights: what every participant downloads, or one for all."""
    from helpers.model.shapes import model_config
    from helpers.plan.shape import Shape

    return 2.0 * Shape.of(model_config(config)).parameters


def sheet(
    people: int, hours: float, price: float, base: float, disk: float = 20.0, disk_price: float = 0.10, volume: float = 100.0,
    volume_price: float = 0.07, packages: float = PACKAGES,
) -> Table:  # fmt: skip
    """The sheet of a workshop. price: of one pod and hour; base, packages: bytes of the base model and of the packages;
    disk: GB of a pod's container; volume: GB of the shared volume; disk_price, volume_price: per GB and month.

    Raises ValueError for a number that is not positive.
    """
    for name, value in {"people": people, "hours": hours, "price": price}.items():
        if not value > 0:
            raise ValueError(f"{name}={value!r} must be a positive number.")
    months = hours / HOURS_OF_A_MONTH
    pods, disks, shared = people * hours * price, people * disk * disk_price * months, volume * volume_price
    each = base + packages
    rows = [
        ("pods", f"{people} x {hours:g} h x {price:g}", f"{pods:,.2f}"),
        ("container disks", f"{people} x {disk:g} GB x {disk_price:g} a month, for {hours:g} h", f"{disks:,.2f}"),
        ("shared volume, one month", f"{volume:g} GB x {volume_price:g}; delete it after the class", f"{shared:,.2f}"),
        ("cost of the day", "", f"{pods + disks + shared:,.2f}"),
        ("cost of a participant", "", f"{(pods + disks + shared) / people:,.2f}"),
        ("download, everybody alone", f"{people} x ({human_bytes(base)} model + {human_bytes(packages)} packages)", human_bytes(people * each)),
        ("download, shared cache", "once, by warm_cache.sh; only the packages on every pod", human_bytes(base + people * packages)),
        ("space on the shared volume", "model once, and a run directory of every participant (adapter, reports)", human_bytes(base + people * 0.1e9)),
    ]  # fmt: skip
    return Table([{"what": what, "how": how, "amount": amount} for what, how, amount in rows])


def main() -> int:
    """The command line; 1 for a number that makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, required=True)
    parser.add_argument("--hours", type=float, required=True)
    parser.add_argument("--price", type=float, required=True, help="of one pod and hour")
    parser.add_argument("--preset", default="demo", choices=list(PRESETS))
    for name, text in (("disk", "GB of a pod"), ("volume", "GB of the shared volume")):
        parser.add_argument(f"--{name}", type=float, default={"disk": 20.0, "volume": 100.0}[name], help=text)
    for name in ("disk", "volume"):
        parser.add_argument(
            f"--{name}-price", type=float, default={"disk": 0.10, "volume": 0.07}[name], help="per GB and month"
        )
    chosen = vars(parser.parse_args())
    try:
        print(sheet(base=base_bytes(RunConfig.load(chosen.pop("preset"))), **chosen))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

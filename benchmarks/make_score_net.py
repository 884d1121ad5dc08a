"""Makes the published weights of score-net: trains them on MNIST, or takes a finished run, and writes the two files.

    python benchmarks/make_score_net.py [RUN]

writes src/chainrule/assets/score-net-mnist.safetensors (weights) and .json (how they were made, checksum).
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import safetensors.torch

import chainrule
from chainrule.run.run import Run

COMMAND = "chainrule train score-net --data mnist --seed 0 threads=1"
ASSETS = Path(__file__).parents[1] / "src" / "chainrule" / "assets"


def main(folder: str | None) -> None:
    run = Run.load(folder) if folder else chainrule.train("score-net", data="mnist", seed=0, threads=1)
    result, spec = run.result(), run.record["data"]["spec"]
    if run.record["recipe"] != "score-net" or result is None:
        raise SystemExit(f"{run.folder} is no finished run of score-net")
    model = run.open_task().modules()["model"].cpu()
    weights = safetensors.torch.save({name: value.contiguous() for name, value in model.state_dict().items()})
    ASSETS.mkdir(exist_ok=True)
    (ASSETS / "score-net-mnist.safetensors").write_bytes(weights)
    origin = {
        "command": COMMAND,
        "settings": run.record["settings"],
        "seed": run.seed,
        "data": {"name": run.record["data"]["source"], "counts": spec["counts"], "fingerprint": spec["fingerprint"]},
        "mean": spec["mean"],
        "std": spec["std"],
        "test_accuracy": round(result["metrics"]["accuracy"], 6),
        "protocol": result["protocol"],
        "parameters": result["parameters"],
        "versions": run.record["versions"],
        "hardware": run.record["hardware"],
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    (ASSETS / "score-net-mnist.json").write_text(json.dumps(origin, indent=1) + "\n", "utf-8")
    print(f"score-net: test accuracy {origin['test_accuracy']}, {len(weights):,} bytes, sha256 {origin['sha256']}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)

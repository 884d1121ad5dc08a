"""Images a second where images lie in memory, are mapped from the cache, and are streamed from shards of webdataset.

    python benchmarks/streams.py                     # 4,000 JPEG images of 96 x 96, two cores
    python benchmarks/streams.py --images 40000 --side 224

The same images, made here: JPEG files in class folders, and the same files in shards. Each contestant is a process of its
own that reads them as a run does, and takes an epoch of shuffled batches of 64: once alone, which is what reading costs,
and once with a step of ResNet-20 on each batch, which is what training sees. The first batch, and what is made before it
(decoding into memory or into the cache, the index of shards), is told by itself. The hashes of the epochs' bytes must be
equal: the order and the pixels are the same wherever the images lie.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import Figures, compare, in_words, peak_mib, speed_table

CONTESTANTS = ("files, in memory", "files, mapped", "shards, in memory", "shards, streamed")
EACH = 1000  # images in a shard
BATCH = 64


def make(folder: Path, count: int, side: int) -> None:
    """The images as files and as shards; made once, for they are kept where the system keeps what is temporary."""
    import numpy as np
    from PIL import Image

    if (folder / "made").is_file():
        return
    random = np.random.default_rng(0)
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    for first in range(0, count, EACH):
        with tarfile.open(folder / "shards" / f"set-{first // EACH:06d}.tar", "w") as tar:
            for number in range(first, min(first + EACH, count)):
                label, stream = number % 2, io.BytesIO()
                coarse = Image.fromarray(random.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8))
                coarse.resize((side, side), Image.Resampling.BICUBIC).save(stream, "jpeg", quality=90)
                place = folder / "files" / str(label) / f"{number:07d}.jpg"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(stream.getvalue())
                for ending, content in (("jpg", stream.getvalue()), ("cls", str(label).encode())):
                    info = tarfile.TarInfo(f"{number:07d}.{ending}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    (folder / "made").touch()


def measure(contestant: str, given: argparse.Namespace) -> Figures:
    folder = Path(tempfile.gettempdir()) / f"chainrule-streams-{given.images}-{given.side}"
    make(folder, given.images, given.side)
    what, where = contestant.split(", ")
    os.environ["CHAINRULE_IN_MEMORY"] = "yes" if where == "in memory" else "no"
    os.environ["CHAINRULE_CACHE"] = str(folder / "cache")

    import torch

    from chainrule.core.data.request import DataRequest
    from chainrule.data.batches import Batches
    from chainrule.data.images.loading import load_images
    from chainrule.models import get_card

    torch.set_num_threads(given.threads)
    start = time.perf_counter()
    request = DataRequest({"": str(folder / what)})
    data = load_images(request, size=given.side, may_stay=True)
    x = data.train.x.to("cpu", memory_format=torch.channels_last)
    loader = Batches(x, data.train.y, BATCH, seed=0)
    next(loader.epoch(0))
    found: dict[str, float | str] = {"ready_s": time.perf_counter() - start}

    digest, start = hashlib.blake2b(digest_size=8), time.perf_counter()
    for _ in loader.epoch(0):
        pass
    found["seconds"] = time.perf_counter() - start
    found["reading"] = len(x) / float(found["seconds"])
    for _, batch in zip(range(4), loader.epoch(0), strict=False):
        digest.update(batch.x.contiguous().numpy().tobytes())
    found["hash"] = digest.hexdigest()

    torch.manual_seed(0)
    model = get_card("resnet20").build().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, 0.9)
    start = time.perf_counter()
    steps = 0
    for steps, batch in enumerate(loader.epoch(0), 1):
        loss = torch.nn.functional.cross_entropy(model(batch.x.float() / 255), batch.y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if steps == given.steps:
            break
    found["training"] = steps * BATCH / (time.perf_counter() - start)
    return {**found, "peak_mib": peak_mib()}


def summarise(record: dict[str, Any]) -> str:
    hashes = {run["hash"] for runs in record["runs"].values() for run in runs if run["hash"]}
    files = {run["hash"] for name in CONTESTANTS[:2] for run in record["runs"][name]}
    shards = {run["hash"] for name in CONTESTANTS[2:] for run in record["runs"][name]}
    if len(files) > 1 or len(shards) > 1:
        sys.exit(f"the epochs differ: {hashes}")
    columns = {
        "images a second, read": lambda own, beside: f"{own['reading']:,.0f}",
        "images a second, trained": lambda own, beside: f"{own['training']:,.0f}",
        "of in memory": lambda own, beside: f"{own['training'] / beside['training']:.2f}",
        "seconds until the first batch": lambda own, beside: f"{own['ready_s']:.1f}",
        "most memory, MiB": lambda own, beside: f"{own['peak_mib']:,.0f}",
    }
    problem = record["problem"]
    rows = speed_table(record["runs"], lambda name, all_: all_[CONTESTANTS[0]], columns, seconds="an epoch read, s")
    return (
        f"# {problem['images']:,} JPEG images of {problem['side']} x {problem['side']}\n\n{rows}\n\n"
        "Trained: ResNet-20, batches of 64. Bytes and order of the epochs are equal, by their hashes. Until the first "
        f"batch: the cache is filled by the contestant that comes first.\n\n{in_words(record)}\n"
    )


if __name__ == "__main__":
    compare(
        __file__,
        __doc__,
        CONTESTANTS,
        measure,
        summarise,
        {"images": 4000, "side": 96, "steps": 20, "repeats": 3, "threads": 2},
        packages=("chainrule", "torch", "webdataset", "pillow", "numpy"),
    )

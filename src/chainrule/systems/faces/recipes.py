"""FaceNet: embeddings of faces, learnt by triplets, measured on persons who were never seen in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import Headline, Target, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Range, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.systems.faces.task import FaceEmbedding

AtLeastTwo = Annotated[int, Range(2)]  # of persons, or of one person's images, in a batch
_SIZES = {"small": 32, "inception-resnet-v1": 160}


@recipe(
    "facenet",
    task="face verification and identification",
    data="orl",
    kinds=("images",),
    source="Schroff, Kalenichenko, Philbin: FaceNet, 2015",
    model="face-net-small",
    target=Target(
        "verification_accuracy",
        0.9963,
        "lfw",
        "Schroff et al. 2015, section 5.6",
        "a network of 140 million parameters trained on some 200 million images of 8 million other persons; "
        "the 6,000 given pairs of LFW, threshold chosen on nine of ten folds",
        lower_is_better=False,
    ),
    headline=Headline(("verification_accuracy", "auc", "rank1", "verification_accuracy_eigenfaces", "auc_eigenfaces")),
    tiny={
        "data": "digits",
        "size": 16,
        "width": 8,
        "embedding": 16,
        "epochs": 2,
        "persons": 3,
        "pictures": 6,
        "log_every": 5,
        "val_fraction": 0.2,
        "test_fraction": 0.4,
    },
    summary_zh="人脸嵌入：用半难（semi-hard）负样本的三元组训练；判断是否同一人，在图库里找最像的人",
    topics=(Topic("FaceNet: triplets, verification, identification", "FaceNet：三元组、验证与识别", lectures=(1,)),),
)
def facenet(
    run: Run,
    *,
    network: Literal["small", "inception-resnet-v1"] = "small",
    embedding: AtLeastTwo = 64,
    width: Count = 16,
    dropout: Fraction = 0.0,
    margin: Positive = 0.2,
    mining: Literal["semi-hard", "hard", "all"] = "semi-hard",
    persons: AtLeastTwo = 10,
    pictures: AtLeastTwo = 5,
    epochs: Count = 40,
    lr: Positive = 5e-4,
    weight_decay: NonNegative = 1e-4,
    augment: bool = True,
    mirror: bool = True,
    size: Size = 0,
    channels: Size = 0,
    val_fraction: Fraction = 0.125,
    test_fraction: Fraction = 0.25,
) -> FaceEmbedding:
    """FaceNet: face verification and identification by embeddings that are trained with the triplet loss.

    A batch has `pictures` images of each of `persons` persons. `mining` chooses its triplets: semi-hard negatives as in the
    paper, the hardest positive and negative of each anchor, or all with a loss. `network` is a small one for little data, or
    Inception-ResNet-v1. `mirror` averages the embeddings of an image and its mirror image when it is asked.
    """
    import torch

    from chainrule.models import build
    from chainrule.nn.fitted import Fitted
    from chainrule.optim.schedule import cosine_schedule
    from chainrule.systems.classical.pca import PCA
    from chainrule.systems.faces.data import load_faces
    from chainrule.systems.faces.face_net_small import FaceNetSmall
    from chainrule.systems.faces.jitter import face_jitter
    from chainrule.systems.faces.task import FaceEmbedding

    data = load_faces(
        run.data,
        size=size or _SIZES[network],
        channels=channels,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
    )
    spec = data.spec
    if network == "small":
        model = FaceNetSmall(embedding, spec.channels, spec.size, width, dropout)
    else:
        model = build(network, embedding=embedding, in_channels=spec.channels, dropout=dropout)
    model = run.place(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=weight_decay)
    P, K = (persons, pictures)  # of a batch: P persons, K images of each
    return FaceEmbedding(
        run,
        data=data,
        model=model,
        eigenfaces=Fitted(PCA()),
        optimizer=optimizer,
        schedule=cosine_schedule(optimizer, epochs, spec.counts["train"], P * K),
        epochs=epochs,
        persons=P,
        images_per_person=K,
        margin=margin,
        mining=mining,
        augment=face_jitter if augment else None,
        mirror=mirror,
    )

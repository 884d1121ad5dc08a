"""Any of the image networks on any images with classes: the recipe for one's own folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from chainrule.core.recipe import recipe
from chainrule.core.settings import CodeName, Count, Fraction, NonNegative, Positive, Size

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor, nn

    from chainrule.core.card import CaffeWeights, Card, ImageNetWeights
    from chainrule.data.dataset import Dataset
    from chainrule.data.images.augment import Change
    from chainrule.data.images.loading import ImageSplit
    from chainrule.data.images.spec import ImageSpec
    from chainrule.run.run import Run
    from chainrule.tasks.images.classification import ImageClassifier
    from chainrule.tasks.images.objectives import Criterion, Objective

Optimizer = Literal["sgd", "nesterov", "adam", "adamw"]
Auto = Literal["auto"]  # what follows the images


@recipe(
    "image-classifier",
    task="image classification",
    data="digits",
    kinds=("images",),
    source="He et al. 2016 for the network; Szegedy et al. 2015, DeVries and Taylor 2017, Zhang et al. 2018 for augmentation",
    model="cifar-net",
    model_setting="network",
    tiny={
        "network": "lenet-caffe",
        "size": 28,
        "epochs": 2,
        "crop": "shift",
        "flip": False,
        "mixup": 0.2,
        "log_every": 3,
    },
    summary_zh="用任何图像网络（`network=resnet18`）给自己的图像分类：数据增强、微调、稀有类别加权",
)
def image_classifier(
    run: Run,
    *,
    network: CodeName | str = "auto",
    size: Size | Auto = "auto",
    channels: Size = 0,
    epochs: Count | Auto = "auto",
    batch_size: Count | Auto = "auto",
    optimizer: Optimizer = "nesterov",
    lr: Positive | Auto = "auto",
    momentum: Fraction = 0.9,
    weight_decay: NonNegative = 5e-4,
    l1: NonNegative = 0.0,
    penalty_from: Size = 0,
    warmup: Fraction = 0.05,
    crop: Literal["auto", "resized", "shift", "none"] = "auto",
    flip: bool | Auto = "auto",
    colour: Fraction = 0.2,
    cutout: Fraction = 0.0,
    mixup: NonNegative = 0.0,
    label_smoothing: Fraction = 0.1,
    heads: NonNegative = 0.0,
    balance: Literal["none", "loss"] = "none",
    grow: tuple[Count, ...] | None = None,
    freeze: tuple[str, ...] | None = None,
    thaw: Fraction = 1.0,
    backbone_lr: Positive = 1.0,
    test_flip: bool = False,
    loss: CodeName | None = None,
    metrics: CodeName | None = None,
    choose_by: str = "error",
    val_fraction: Fraction = 0.1,
) -> ImageClassifier:
    """Any image network on one's own images: augmented on the device, a rate that rises, then falls as a cosine.

    `chainrule show networks` lists what `network` may be. Images are stretched to squares of `size` pixels; `size=0`
    takes the size that the network was published for. `channels=1` makes them grey, `channels=3` coloured.

    What is `auto` follows the images, and a line says it, with about how long it will take; run.json keeps it.
    Without `--weights` the network is cifar-net, on the images' own size, 16 to 64 pixels, for about 30,000 images in
    12 to 60 epochs; on a GPU larger images get resnet18 on 128 pixels. With `--weights` it is resnet18, or the network
    of the run that they are of. A network that is named gets the size it was published for, up to 128 pixels, and 30
    epochs. Images above 64 pixels are cut (`crop=resized`), from 28 pixels on moved (`crop=shift`). Nothing is mirrored
    where a class is named by a number, a single character, or left and right, nor grey images up to 32 pixels.

    What training changes in an image: `crop=resized` takes a part of it, `crop=shift` moves it by up to 4 pixels; `flip`
    mirrors every second; `colour` is how far brightness, contrast and saturation go; `cutout` is the side of a grey square
    as a share of the size; `mixup` blends pairs, by a share from Beta(mixup, mixup). `crop=none flip=no colour=0` changes
    nothing. `grow=64,96,128` begins with small images. `balance=loss` weighs rare classes up. `heads=0.3` trains
    googlenet's auxiliary classifiers too, with that weight. `test_flip` answers for an image and its mirror image together.

    `--weights torchvision` or `--weights FILE` starts from published weights. `lr=0.005` goes easy on them, or
    `backbone_lr=0.1`, the rate of all layers but the last as a share of `lr`, or `freeze=conv1,bn1,layer1 thaw=0.3`, parts
    that do not learn before that share of training.

    `network=FILE.py:NAME` is a network of your own: a torch.nn.Module, its class, or a function that returns one, from
    images (B, C, H, W) to logits (B, K); it is given what it names of `num_classes`, `in_channels` and `image_size`.
    `loss=FILE.py:NAME` takes logits and classes (B,) and gives a loss per sample, or their mean. `metrics=FILE.py:NAME`
    takes the same of a whole split (probabilities, where it calls them `probs`) and gives a number or a dictionary of
    numbers; `choose_by=max:NAME` keeps the epoch by one of them.
    """
    import torch

    from chainrule.data.images.loading import load_images
    from chainrule.loops.penalty import penalize
    from chainrule.nn.frozen import Frozen
    from chainrule.optim.by_name import optimizer_of
    from chainrule.optim.policies import cosine
    from chainrule.optim.policies import warmup as rising
    from chainrule.optim.schedule import as_schedule, total_steps
    from chainrule.run.input_normalization import pixel_normalization
    from chainrule.systems.image_classification.defaults import Choice, Defaults
    from chainrule.systems.image_classification.test_time_augmentation import FlipAverage
    from chainrule.tasks.images.classification import ALL_KNOWN, KNOWN, ImageClassifier, descend, try_and_descend
    from chainrule.tasks.images.objectives import MeanLoss, MixupLoss, ThawingObjective
    from chainrule.tasks.own.choice import read_choice
    from chainrule.tasks.own.metrics import own_metrics

    own_network, own_loss = run.own.get("network"), run.own.get("loss")  # what is wrong in a file is told first
    size = grow[-1] if grow and size == "auto" else size
    asked = Choice(network, size, epochs, batch_size, lr, crop, flip)
    defaults = Defaults(run, asked, own_network=own_network is not None)
    card = _card(defaults.network) if own_network is None and defaults.network is not None else None
    published = _published(run, defaults.network, own=own_network is not None)
    data = load_images(
        run.data,
        size=_size(0, card) if size == 0 else defaults.size(card),
        channels=channels or (len(published.preprocessing.mean) if published else 0),
        val_fraction=val_fraction,
        margin=published.preprocessing.resize / published.preprocessing.size if published else None,
        may_stay=True,
    )
    form = _offered(data.spec)
    chosen = defaults.decided(data.spec)
    if own_network is None:
        card = card or _card(chosen.network)
        model, memory_format = run.place(card.build(**_form(chosen.network, card, form, heads))), torch.channels_last
    else:
        model, memory_format = _own_network(run, own_network, form)
    defaults.tell(chosen, data.spec, model if own_network is None else None)
    criterion = _own_criterion(run, own_loss, form) or _criterion(run, data, label_smoothing, balance, heads)
    start = momentum if optimizer in ("sgd", "nesterov") else 0.0
    groups = _groups(model, criterion, backbone_lr)
    rule = optimizer_of(optimizer, groups, chosen.lr, momentum=start, weight_decay=weight_decay)
    penalize(run, rule, l1=l1, penalty_from=penalty_from, epochs=chosen.epochs)
    steps = total_steps(chosen.epochs, data.spec.counts["train"], chosen.batch_size)
    rise = round(warmup * steps)
    rests = card is None  # of a network of the user's own, some parameters may be at rest
    objective: Objective = MixupLoss(criterion, mixup, rests) if mixup else MeanLoss(criterion, rests)
    if freeze:
        objective = ThawingObjective(objective, Frozen(model, freeze), run, until=thaw * chosen.epochs)
    seen = data.spec.mean, data.spec.std
    taught = (published.preprocessing.mean, published.preprocessing.std) if published else None
    measured = own_metrics(run.own.get("metrics"), ALL_KNOWN, form["num_classes"])
    return ImageClassifier(
        run,
        data=data,
        model=model,
        criterion=criterion,
        optimizer=rule,
        schedule=as_schedule(rule, rising(rise, cosine(chosen.lr, max(steps - rise, 1)))),
        epochs=chosen.epochs,
        batch_size=chosen.batch_size,
        changes=_changes(chosen.crop, chosen.flip, colour, round(cutout * data.spec.size), grow, data.spec.size),
        objective=objective,
        answering=FlipAverage(model) if test_flip else None,
        normalize=pixel_normalization(run, seen, taught, contiguous=memory_format == torch.contiguous_format),
        learn=descend if own_network is None and own_loss is None else try_and_descend,
        metrics=measured,
        choose_by=read_choice(choose_by, KNOWN, measured.names if measured else ()),
    )


def _own_criterion(run: Run, loss: Any, form: dict[str, int]) -> Criterion | None:
    """The user's own loss, where one is named; the settings of the usual ones then have nothing to say."""
    from chainrule.tasks.own.criterion import OwnCriterion

    if loss is None:
        return None
    run.own.expect_defaults("loss", ("label_smoothing", "balance", "heads"), run.recipe.build)
    return OwnCriterion(loss, form, run.world.size).to(run.device)


def _card(network: str) -> Card:
    """The card of a network for images that learns by autograd."""
    from chainrule.core.errors import UserError, unknown
    from chainrule.models import all_cards, get_card, image_networks

    if ".py" in network:
        raise UserError(
            "a network of your own has a name in its file", expected="FILE.py:NAME", found=f"network={network}"
        )
    if network not in all_cards():
        raise unknown(
            "there is no network",
            network,
            image_networks(),
            cure="chainrule show networks, or one of your own: network=FILE.py:NAME",
        )
    card = get_card(network)
    example = card.example(1)
    if len(example) != 1 or example[0].dim() != 4:
        raise UserError(
            f"{network} is no network for images", expected="resnet18, vgg11, ...", found=f"network={network}"
        )
    if "gradient" in card.skip:  # autograd has no graph of it
        raise UserError(
            f"{network} learns by hand, not by autograd",
            expected="resnet18, vgg11, ...",
            found=f"network={network}",
            cure=f"chainrule train {network}",
        )
    return card


def _published(run: Run, network: str | None, *, own: bool) -> ImageNetWeights | CaffeWeights | None:
    """Which published weights --weights means; of a network of the user's own there are none."""
    from chainrule.core.errors import UserError
    from chainrule.models import PUBLISHERS, weights_named

    weights = run.record["weights"]
    if own and weights in PUBLISHERS:
        raise UserError(
            f"{weights} publishes no weights of a network of your own",
            found=f"--weights {weights}",
            cure="--weights FILE, a state dict of it",
        )
    return None if own or network is None else weights_named(network, weights)


def _size(size: int, card: Card | None) -> int:
    """Of the images: as asked, or 0 for what the network was published for."""
    from chainrule.core.errors import UserError

    if not size and card is None:
        raise UserError(
            "size=0 is the size of a network that is named", found="size=0", cure="size=64, or network=NAME"
        )
    return size or card.example(1)[0].shape[-1]  # type: ignore[union-attr]


def _offered(spec: ImageSpec) -> dict[str, int]:
    """What a network may ask for by name."""
    K, C, size = len(spec.classes), spec.channels, spec.size
    return {"num_classes": K, "in_channels": C, "image_size": size, "in_features": C * size**2, "out_features": K}


def _own_network(run: Run, found: Any, form: dict[str, int]) -> tuple[nn.Module, torch.memory_format]:
    """The user's network on the run's device, and the memory format that it takes."""
    import torch

    from chainrule.tasks.own.building import build_network, memory_format_of

    example = torch.zeros(2, form["in_channels"], form["image_size"], form["image_size"])
    network = build_network(found, form, example).cpu()
    memory_format = memory_format_of(network, example)
    model = run.place(network)
    if memory_format == torch.contiguous_format:
        model = model.to(memory_format=memory_format)  # type: ignore[call-overload]
    return model, memory_format


def _form(network: str, card: Card, form: dict[str, int], heads: float) -> dict[str, Any]:
    """What one of our networks is built with: classes and channels, the size where it depends on it, heads where wanted."""
    import inspect

    from chainrule.core.errors import UserError

    takes = inspect.signature(card.build).parameters
    if not {"num_classes", "in_channels"} <= set(takes):
        raise UserError(f"{network} does not give classes of images", expected="resnet18, vgg11, ...")
    if heads and "heads" not in takes:
        raise UserError(
            f"{network} has no auxiliary classifiers",
            found=f"heads={heads:g}",
            expected="googlenet, googlenet-bn",
            cure="heads=0",
        )
    known = {**form, "size": form["image_size"], "heads": heads > 0}
    return {name: value for name, value in known.items() if name in takes}


def _changes(
    crop: str, flip: bool, colour: float, cutout: int, grow: tuple[int, ...] | None, size: int
) -> list[Change]:
    """The changes that the settings ask for, in turn."""
    from functools import partial

    from chainrule.data.images import augment

    wanted: list[tuple[Any, Callable[[Tensor], Tensor]]] = [
        (crop == "resized", augment.random_resized_crop),
        (crop == "shift", augment.shift),
        (flip, augment.flip),
        (colour, partial(augment.jitter_colours, strength=colour)),
        (cutout, partial(augment.cutout, size=cutout)),
    ]
    changes = [augment.of_images(change) for asked, change in wanted if asked]
    return [*changes, augment.Growing(grow, size)] if grow else changes


def _groups(model: nn.Module, criterion: Criterion, backbone_lr: float) -> list[dict[str, Any]]:
    """The last linear layer at the full rate, with what the loss has to learn, all before it at `backbone_lr` times that."""
    from torch import nn

    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    head = list(linear[-1].parameters()) if linear else []
    head += list(criterion.parameters()) if isinstance(criterion, nn.Module) else []
    own = {id(p) for p in head}
    before = [p for p in model.parameters() if id(p) not in own]
    return [{"params": params, "lr_mult": mult} for params, mult in ((before, backbone_lr), (head, 1.0)) if params]


def _criterion(
    run: Run, data: Dataset[ImageSpec, ImageSplit], label_smoothing: float, balance: str, heads: float
) -> Callable[[Tensor | tuple[Tensor, ...], Tensor], Tensor]:
    """Cross entropy a sample; balanced, a class weighs N / (K n_k), so that each has the same share of the sum.

    Where a network in training gives the logits of auxiliary heads too, their losses are added, `heads` times.
    """
    import torch

    weight = None
    if balance == "loss":
        counts = torch.tensor(data.spec.class_counts, dtype=torch.float32)
        weight = (counts.sum() / (len(counts) * counts)).to(run.device)

    def criterion(logits: Tensor | tuple[Tensor, ...], y: Tensor) -> Tensor:
        if isinstance(logits, tuple):
            main, *others = (criterion(each, y) for each in logits)
            return main + heads * torch.stack(others).sum(0)
        return torch.nn.functional.cross_entropy(logits, y, weight, label_smoothing=label_smoothing, reduction="none")

    return criterion

"""Which image belongs to which mask, by names alone: folders side by side, Pascal VOC, SegNet's lists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chainrule.core.errors import UserError
from chainrule.data.formats.content import form_of, images_among, is_hidden_name
from chainrule.data.formats.encoding import decode
from chainrule.data.images.decoding import image_files
from chainrule.data.layout import Layout, subfolders
from chainrule.data.split_names import by_split, split_called

IMAGES = ("images", "image", "imgs", "img")  # names of folders, in small letters
MASKS = ("masks", "mask", "labels", "label", "annots", "annot", "annotations", "annotation", "gt")
ENDS = (
    "",
    "_mask",
    "_masks",
    "_label",
    "_labels",
    "_gt",
    "_seg",
    "_L",
)  # what a mask's stem may have behind the image's
VOC_IMAGES, VOC_MASKS, VOC_LISTS = "jpegimages", "segmentationclass", ("ImageSets", "Segmentation")
ANNOT = "annot"  # behind the name of a folder of images: SegNet's folder of their masks
SHOWN = 3

Pair = tuple[Path, Path]  # an image and its mask


@dataclass
class Pairs:
    """Images and masks as they were found.

    Attributes:
        splits: pairs of each split that the user has made, `train` at least.
        form: in words: "images/ and masks/".
        where: the place.
        folders: where a classes.txt may lie.
        notes: what is to be said of what was left out.
    """

    splits: dict[str, list[Pair]]
    form: str
    where: str
    folders: list[Path]
    notes: list[str] = field(default_factory=list)


def form_of_masks(layout: Layout) -> str | None:
    """How masks lie at a place, in words; None where there are none."""
    if layout.sources and layout.form == "folder":
        found = [_form(part) for part in layout.splits.values()]
        return next(iter(found)) if all(found) else None
    if layout.form != "folder" or not isinstance(layout.place, Path):
        return None
    return _form(layout.place)


def _form(place: Path) -> str | None:
    children = _children(place)
    if VOC_IMAGES in children and VOC_MASKS in children:
        return "JPEGImages/ and SegmentationClass/, as Pascal VOC has them"
    if _segnet(children):
        return "folders NAME and NAMEannot, as SegNet has them"
    if _sides(place) is not None:
        images, masks = _sides(place) or (place, place)
        return f"{images.name}/ and {masks.name}/"
    inside = {split_called(child.name): sides for child in children.values() if (sides := _sides(child)) is not None}
    if "train" in inside:
        images, masks = inside["train"]
        return f"{images.name}/ and {masks.name}/ in each split"
    return None


def find_pairs(layout: Layout) -> Pairs:
    """The pairs of every split.

    Raises:
        UserError: an image has no mask; a list names a file that is not there; two images or masks have one stem.
    """
    if layout.sources:
        parts = {role: _found(place, layout.options.get("encoding")) for role, place in layout.splits.items()}
        splits = {role: _one_split(role, part) for role, part in parts.items()}
        folders = [folder for part in parts.values() for folder in part.folders]
        notes = [note for part in parts.values() for note in part.notes]
        return Pairs(splits, parts["train"].form, str(layout), folders, notes)
    assert isinstance(layout.place, Path)
    return _found(layout.place, layout.options.get("encoding"))


def _one_split(role: str, found: Pairs) -> list[Pair]:
    """Of a source that stands for a split: that split of its own where it has several, else all that it has."""
    return found.splits.get(role, found.splits["train"])


def _found(place: Path, encoding: str | None = None) -> Pairs:
    children, form = _children(place), _form(place)
    assert form is not None
    found = Pairs({}, form, str(place), [place, place.parent])
    if VOC_IMAGES in children and VOC_MASKS in children:
        found.splits = _voc(place, children, found, encoding)
    elif _segnet(children):
        found.splits = _lists(place, encoding) or {
            split: _matched(folder, children[folder.name.casefold() + ANNOT], found)
            for split, folder in _segnet(children).items()
        }
    elif (sides := _sides(place)) is not None:
        inner = [_by_split(side) for side in sides]
        if inner[0] and inner[0].keys() == inner[1].keys():  # images/train and masks/train
            found.splits = {split: _matched(inner[0][split], inner[1][split], found) for split in inner[0]}
        else:
            found.splits = {"train": _matched(*sides, found)}
    else:
        for split, folder in _by_split(place).items():
            both = _sides(folder)
            if both is not None:
                found.splits[split] = _matched(*both, found)
            else:
                found.notes.append(f"{folder.name}/ has no folder of images and of masks, and is passed over")
    if not found.splits.get("train"):
        raise UserError(
            "there is no image with a mask to train on",
            where=place,
            expected=f"{found.form}, with files of equal stems",
            found=", ".join(f"{split}: {len(pairs)}" for split, pairs in found.splits.items()) or "nothing",
        )
    return found


# -- the forms ------------------------------------------------------------------------------------------------------


def _children(place: Path) -> dict[str, Path]:
    return {child.name.casefold(): child for child in subfolders(place)}


def _sides(place: Path) -> tuple[Path, Path] | None:
    """The folder of images and that of masks in a folder, where it has both and there are images in each."""
    children = _children(place)
    images = next((children[name] for name in IMAGES if name in children), None)
    masks = next((children[name] for name in MASKS if name in children), None)
    if images is None or masks is None or not _holds_images(masks) or not _holds_images(images):
        return None
    return images, masks


def _holds_images(folder: Path) -> bool:
    return any(images_among([(form_of(file), 1)]) for file in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file() and not is_hidden_name(file.name))


def _by_split(place: Path) -> dict[str, Path]:
    return by_split(((child.name, child) for child in subfolders(place)), place)


def _segnet(children: dict[str, Path]) -> dict[str, Path]:
    """The folders of images by split, where each has one of masks beside: train and trainannot."""
    paired = [folder for name, folder in children.items() if name + ANNOT in children]
    return by_split(((folder.name, folder) for folder in paired), paired[0].parent) if paired else {}


def _voc(place: Path, children: dict[str, Path], found: Pairs, encoding: str | None) -> dict[str, list[Pair]]:
    """The stems that ImageSets/Segmentation lists for each split; without lists all that have a mask."""
    images, masks = _stems(children[VOC_IMAGES]), _stems(children[VOC_MASKS])
    lists = by_split(((file.stem, file) for file in sorted(place.joinpath(*VOC_LISTS).glob("*.txt"))), place)
    if not lists:
        rest = len(images.keys() - masks.keys())
        found.notes += [f"{rest} images without a mask are passed over"] if rest else []
        return {"train": [(images[stem], masks[stem]) for stem in sorted(images.keys() & masks.keys())]}
    splits: dict[str, list[Pair]] = {}
    for split, file in lists.items():
        splits[split] = []
        for number, line in enumerate(decode(file.read_bytes(), file, encoding).splitlines(), 1):
            stem = line.strip()
            if not stem:
                continue
            for what, stems in (("image", images), ("mask", masks)):
                if stem not in stems:
                    raise _not_there(what, f"{file}, line {number}", stem)
            splits[split].append((images[stem], masks[stem]))
    return splits


def _lists(place: Path, encoding: str | None) -> dict[str, list[Pair]]:
    """The pairs that train.txt, val.txt and test.txt name, `image mask` a line; empty where there are no such lists.

    The paths are those of who published the lists; where they end with what lies here, that is meant.
    """
    files = by_split(((file.stem, file) for file in sorted(place.glob("*.txt"))), place)
    splits: dict[str, list[Pair]] = {}
    for split, file in files.items():
        splits[split] = []
        for number, line in enumerate(decode(file.read_bytes(), file, encoding).splitlines(), 1):
            if not line.strip():
                continue
            names = _two_names(line)
            if names is None:
                raise UserError(
                    "a line of the list is no pair", where=f"{file}, line {number}", expected="image mask", found=line
                )
            both = [_ending_here(place, name) for name in names]
            for what, name, there in zip(("image", "mask"), names, both, strict=True):
                if there is None:
                    raise _not_there(what, f"{file}, line {number}", name)
            splits[split].append((both[0] or place, both[1] or place))
    return splits


def _two_names(line: str) -> tuple[str, str] | None:
    """The two paths of a line, which may have blanks in them: the cut after which both have an ending."""
    words = line.split()
    cuts = [(" ".join(words[:n]), " ".join(words[n:])) for n in range(1, len(words))]
    return next((cut for cut in cuts if Path(cut[0]).suffix and Path(cut[1]).suffix), None)


def _ending_here(place: Path, name: str) -> Path | None:
    parts = Path(name.replace("\\", "/")).parts
    tails = (place.joinpath(*parts[start:]) for start in range(1 if Path(name).is_absolute() else 0, len(parts)))
    return next((file for file in tails if file.is_file()), None)


# -- stems ----------------------------------------------------------------------------------------------------------


def _stems(folder: Path) -> dict[str, Path]:
    """Image files by their path below the folder without ending; UserError where two have one stem."""
    found: dict[str, Path] = {}
    for file in image_files(folder):
        stem = file.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise UserError(
                "two files have one stem, so it is not clear which is meant",
                where=folder,
                found=f"both {found[stem].name} and {file.name}",
                cure="keep one of them",
            )
        found[stem] = file
    return found


def _matched(image_folder: Path, mask_folder: Path, found: Pairs) -> list[Pair]:
    """Each image with the mask of its stem; masks without an image are told."""
    images, masks = _stems(image_folder), _stems(mask_folder)
    pairs, used, missing = [], set(), []
    for stem, image in images.items():
        mask = next((stem + end for end in ENDS if stem + end in masks), None)
        if mask is None:
            missing.append(image)
        else:
            used.add(mask)
            pairs.append((image, masks[mask]))
    if missing:
        first = ", ".join(str(image.relative_to(image_folder)) for image in missing[:SHOWN])
        more = f"; and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise UserError(
            "an image has no mask" if len(missing) == 1 else f"{len(missing)} of {len(images)} images have no mask",
            where=missing[0],
            expected=f"{mask_folder / missing[0].stem}.png, or another format",
            found=f"none for {first}{more}",
            cure="add the masks, or move these images out of the folder",
        )
    alone = [str(file.name) for stem, file in masks.items() if stem not in used]
    if alone:
        more = f"; and {len(alone) - SHOWN} more" if len(alone) > SHOWN else ""
        found.notes.append(f"masks without an image are passed over: {', '.join(alone[:SHOWN])}{more}")
    return pairs


def _not_there(what: str, where: str, name: str) -> UserError:
    return UserError(
        f"the list names a file that is not there: the {what}",
        where=where,
        found=name,
        cure="put the file back, or take the line out of the list",
    )

"""Folders of images with boxes or masks, as Pascal VOC, COCO and YOLO have them: no classes of images, and told as such."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from chainrule.core.errors import UserError
from chainrule.data.formats.content import form_of, images_among, is_hidden_name
from chainrule.data.layout import Layout, subfolders

_IMAGES = (
    "images",
    "image",
    "imgs",
    "img",
    "jpegimages",
    "photos",
    "input",
    "inputs",
)  # names of folders, in small letters
_NOTES = (
    *("annotations", "annotation", "labels", "label", "masks", "mask", "gt", "ground_truth", "groundtruth"),
    *("segmentationclass", "segmentationobject", "segmentation", "trimaps", "xml", "xmls", "bboxes"),
)
_LOOKED_AT = 200  # files of a folder


@dataclass(frozen=True)
class Annotations:
    """What a folder holds instead of classes.

    Attributes:
        what: in words: "boxes, as Pascal VOC has them".
        found: where they were seen.
        images: the folder of the images themselves, where they have one.
    """

    what: str
    found: str
    images: Path | None


def annotations_of(layout: Layout) -> Annotations | None:
    """The boxes or masks that a folder of images holds, or the folder of one of its splits; None where it has classes."""
    if layout.form != "folder" or not isinstance(layout.place, Path):
        return None
    places = dict.fromkeys([*([] if layout.sources else [layout.place]), *layout.splits.values()])
    return next((found for place in places if (found := _in(place)) is not None), None)


def expect_classes(layout: Layout) -> None:
    """UserError where a folder holds boxes or masks."""
    found = annotations_of(layout)
    if found is not None:
        alone = f"; the images alone, for models that generate: --data {found.images}" if found.images else ""
        learners = (
            f"unet learns the masks: chainrule train unet --data {layout}"
            if found.what == "masks"
            else "no recipe learns boxes yet"
        )
        raise UserError(
            f"the folder holds images with {found.what}, and no classes of images",
            where=layout,
            expected="one subfolder of images a class",
            found=found.found,
            cure="sort the images into a subfolder a class, or list them: --data images=DIR --data labels=FILE; "
            f"{learners}{alone}",
        )


def _in(folder: Path) -> Annotations | None:
    children = {child.name.casefold(): child for child in subfolders(folder)}
    images = next((children[name] for name in _IMAGES if name in children), None)
    for name in _NOTES:
        if name in children:
            found = _kind_of(children[name], images)
            if found is not None:
                return found
    coco = next(iter([*folder.glob("_annotations.coco.json"), *folder.glob("instances_*.json")]), None)
    if coco is not None:
        return Annotations("boxes, as COCO has them", coco.name, images)
    return _beside_images(folder)


def _kind_of(notes: Path, images: Path | None) -> Annotations | None:
    """What the folder `notes` holds of the images in another; None where it may well be a class."""
    forms = Counter(form_of(file) for file in _some_files(notes))
    beside = f" beside {images.name}/" if images is not None else ""
    if forms[".json"] and notes.name.casefold().startswith("annotation"):
        return Annotations("boxes, as COCO has them", f"{notes.name}/ with {forms['.json']} .json{beside}", images)
    if images is None:
        return None
    if forms[".xml"]:
        return Annotations("boxes, as Pascal VOC has them", f"{notes.name}/ with .xml files{beside}", images)
    if images_among(forms.items()):
        return Annotations("masks", f"{notes.name}/ with images{beside}", images)
    if forms[".txt"]:
        return Annotations("boxes, as YOLO has them", f"{notes.name}/ with .txt files{beside}", images)
    return None


def _beside_images(folder: Path) -> Annotations | None:
    """A .xml, or a .txt of five numbers a line, beside nearly every image of the folder itself."""
    files = [Path(entry.path) for entry in itertools.islice(os.scandir(folder), _LOOKED_AT) if entry.is_file()]
    images = [file for file in files if images_among([(form_of(file), 1)]) and not is_hidden_name(file.name)]
    for ending, whose in ((".xml", "Pascal VOC"), (".txt", "YOLO")):
        notes = [note for image in images if (note := image.with_suffix(ending)).is_file()]
        if images and 2 * len(notes) > len(images) and (ending == ".xml" or all(map(_holds_boxes, notes[:5]))):
            return Annotations(f"boxes, as {whose} has them", f"a {ending} beside each image", None)
    return None


def _holds_boxes(file: Path) -> bool:
    """Whether a text is lines of a class and four numbers or more, as YOLO has them, or empty."""
    with file.open("rb") as stream:
        words = stream.readline(1000).split()
    return not words or (len(words) >= 5 and all(word.replace(b".", b"").isdigit() for word in words[:5]))


def _some_files(folder: Path) -> list[Path]:
    files = (Path(place, name) for place, _, names in os.walk(folder) for name in names if not is_hidden_name(name))
    return list(itertools.islice(files, _LOOKED_AT))

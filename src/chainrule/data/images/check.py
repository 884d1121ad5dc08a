"""What `data check` says of any images: those that cannot be read, and their sizes."""

from __future__ import annotations

from chainrule.core.errors import UserError
from chainrule.data.formats.content import NAMED
from chainrule.data.images.decoding import TOO_LARGE, decoding_error, ignore_warnings, open_image
from chainrule.data.images.raw import RawImageSet


def expect_readable(raw: RawImageSet) -> None:
    """Decodes every file: a header may be whole where the rest is cut short."""
    files = [file for part in raw.splits.values() for file in part.files]
    with ignore_warnings():
        broken = [(file, why) for file in files if (why := decoding_error(file)) is not None]
    if broken:
        named = [f"{file}: {why}" for file, why in broken[:NAMED]]
        named += [f"and {len(broken) - NAMED} more"] if len(broken) > NAMED else []
        one, large = len(broken) == 1, any(why.startswith(TOO_LARGE) for _, why in broken)
        raise UserError(
            "an image cannot be read" if one else f"{len(broken)} of {len(files)} images cannot be read",
            where=raw.where,
            found="\n            ".join(named),
            cure=f"repair{', make smaller' if large else ''} or remove {'this file' if one else 'these files'}; "
            "skip_broken=yes leaves them out",
        )


def sizes_of(raw: RawImageSet) -> str:
    """Width x height of the images: the one there is, or the smallest and the largest."""
    sizes: set[tuple[int, int]] = set()
    with ignore_warnings():
        for part in raw.splits.values():
            if part.arrays is not None:
                sizes.add((part.arrays.shape[2], part.arrays.shape[1]))
            for file in part.files:
                with open_image(file) as image:
                    sizes.add(image.size)
    if len(sizes) == 1:
        width, height = next(iter(sizes))
        return f"{width}x{height}"
    low, high = min(sizes, key=lambda s: s[0] * s[1]), max(sizes, key=lambda s: s[0] * s[1])
    return f"{low[0]}x{low[1]} to {high[0]}x{high[1]}, {len(sizes)} different"

"""The content image, the reference image and the generated image of one synthesis, and what is done to images."""

from __future__ import annotations

import io

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

HEIGHT_IN_REPORT = 300  # pixels of images that stand side by side
Size = tuple[int, int]  # height and width


class SynthesisImages(nn.Module):
    """All images of one synthesis, as a module so that checkpoints hold them. The pixels of `octaves` are what is learnt.

    Args:
        content: height and width of the content image.
        reference: those of the reference image, which is a style image or a guide; None where there is none.
        octaves: those of the generated image at each octave, the last being the full size.

    Its tensors are called `content`, `other` and `made` in the checkpoints of all versions.
    """

    content: Tensor  # bytes (3, H, W)
    other: Tensor  # the reference image, bytes (3, h, w); (3, 0, 0) where there is none

    def __init__(self, content: Size, reference: Size | None, octaves: list[Size]) -> None:
        super().__init__()
        self.register_buffer("content", torch.zeros(3, *content, dtype=torch.uint8))
        self.register_buffer("other", torch.zeros(3, *(reference or (0, 0)), dtype=torch.uint8))
        self.made = nn.ParameterList(torch.zeros(1, 3, *size) for size in octaves)

    def fill(self, content: Tensor, reference: Tensor | None = None) -> None:
        """Takes the images over, as bytes (3, H, W)."""
        self.content.copy_(content)
        if reference is not None:
            self.other.copy_(reference)

    @property
    def octaves(self) -> list[Tensor]:
        """The generated image at each octave, coarsest first: floats (1, 3, h, w)."""
        return list(self.made)

    @property
    def generated(self) -> Tensor:
        """The generated image at full size, rounded to bytes (3, H, W)."""
        return to_bytes(self.made[-1])

    @property
    def content_image(self) -> Tensor:
        return self.as_floats(self.content)

    @property
    def reference_image(self) -> Tensor:
        return self.as_floats(self.other)

    @property
    def generated_image(self) -> Tensor:
        """The generated image as it is saved: rounded, then floats again."""
        return self.as_floats(self.generated)

    def as_floats(self, pixels: Tensor) -> Tensor:
        """Bytes (3, H, W) as floats (1, 3, H, W) in [0, 255]."""
        return pixels[None].to(self.made[-1].dtype)

    @property
    def smallest(self) -> Size:
        """Height and width of the smallest image that the network is given."""
        every = [*self.made, self.content, *([self.other] if self.other.numel() else [])]
        return min((size_of(image) for image in every), key=min)


def size_of(image: Tensor) -> Size:
    """Height and width of images (..., H, W)."""
    return image.shape[-2], image.shape[-1]


def resize(x: Tensor, size: Size) -> Tensor:
    """Images (B, C, H, W) brought to another size by bilinear interpolation; the corners keep their values.

    Source: dream.ipynb, `nd.zoom` with order 1.

    >>> resize(torch.tensor([[[[0.0, 1.0]]]]), (1, 3)).flatten().tolist()
    [0.0, 0.5, 1.0]
    """
    return x if size_of(x) == size else F.interpolate(x, size, mode="bilinear", align_corners=True)


def to_bytes(image: Tensor) -> Tensor:
    """Floats (1, 3, H, W) as bytes (3, H, W)."""
    return image.detach()[0].round().clamp(0, 255).to(torch.uint8)


def to_pil(pixels: Tensor) -> Image.Image:
    """Bytes (3, H, W) as an image that can be saved."""
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())  # (H, W, 3)


def side_by_side(pixels: list[Tensor]) -> bytes:
    """Byte images (3, H, W) in a row on a transparent background, brought to one height, as a PNG."""
    height = min(HEIGHT_IN_REPORT, max(each.shape[1] for each in pixels))
    images = [to_pil(each) for each in pixels]
    images = [each.resize((max(1, round(each.width * height / each.height)), height)) for each in images]
    row = Image.new("RGBA", (sum(each.width + 8 for each in images) - 8, height))
    left = 0
    for each in images:
        row.paste(each, (left, 0))
        left += each.width + 8
    buffer = io.BytesIO()
    row.save(buffer, format="png")
    return buffer.getvalue()

"""What the user may say of the reading of masks: which number is void, and which images belong together."""

from __future__ import annotations

from chainrule.core.data.option import Option

VOID = Option(
    "void",
    kinds=("masks",),
    type=int | None,
    default=None,
    text="The number of the pixels that count nowhere; -1: none. Unless given, 255, where there are other numbers than 0 "
    "beside it, and classes of classes.txt that are called void or unlabelled.",
    text_zh="不计入的像素的编号；-1 表示没有。不写则为 255（若除 0 外还有其他编号），以及 classes.txt 中名为 void 或 unlabelled 的类。",
)
GROUP = Option(
    "group",
    kinds=("masks",),
    type=str | None,
    default=None,
    text="A regular expression: images in whose names it finds the same (its first group, where it has one) stay in one split.",
    text_zh="正则表达式：文件名中匹配到相同内容（若有分组则取第一个分组）的图像留在同一个划分里。",
)

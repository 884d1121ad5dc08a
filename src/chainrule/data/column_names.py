"""The usual names of a table's columns, in English and Chinese, by what they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence

TEXTS = (
    *("text", "sentence", "review", "content", "comment", "document", "body", "message", "tweet"),
    *("文本", "评论", "内容", "正文", "句子", "留言"),
)
LABELS = ("label", "class", "category", "target", "labels", "标签", "类别", "目标", "分类", "种类")
FILES = (
    *(
        "path",
        "file",
        "filename",
        "filepath",
        "image",
        "imagepath",
        "imagefile",
        "imagename",
        "img",
        "imgpath",
        "imgname",
    ),
    *("imageid", "name", "id", "路径", "文件", "文件名", "图片", "图像", "图片路径", "图片名"),
)
SPLITS = ("split", "subset", "partition", "set", "datasplit", "划分", "数据划分")


def column_called(names: Sequence[str], header: Sequence[str]) -> str | None:
    """The column that has one of these names, in any case and with any mark between words; the first name goes first.

    >>> column_called(FILES, ["Label", "Image_Path"]), column_called(LABELS, ["Label", "Image_Path"])
    ('Image_Path', 'Label')
    """
    plain = {re.sub(r"[-_. ]", "", name.casefold()): name for name in reversed(header)}
    return next((plain[name] for name in names if name in plain), None)

"""Bytes as text: marks, the encoding that the user names, and what is told of bytes that are none of it."""

from __future__ import annotations

import pytest

from chainrule.core.errors import UserError
from chainrule.data.formats.encoding import decode, decoded_lines, guess_encoding

TEXTS = {
    "gb18030": ("标签,评论\n好,很好", "id,城市\n1,东莞\n2,珠海\n", "这家餐厅的服务员态度非常好，下次还会再来。"),
    "big5": ("標籤,評論\n好,很好", "這家餐廳的服務員態度非常好，下次還會再來。"),
    "shift_jis": ("名前,都市\n田中,東京\nすずき,おおさか\n",),
    "euc_kr": ("이름,도시\n김철수,서울\n박영희,부산\n이민호,대구\n",),
    "cp1251": ("город,цена\nМосква,12\nКазань,11\n",),
    "cp1252": ("Größe,Süße\n1,2", "prix €,été\n", "name\nMüller\nJosé Peña\n"),
    "utf-16-le": ("name,age\nAnn,3\n", "标签,评论\n1,a\n"),
}


@pytest.mark.parametrize("encoding, text", [(name, text) for name, texts in TEXTS.items() for text in texts])
def test_the_cure_names_the_encoding_that_it_is(encoding: str, text: str) -> None:
    content = text.encode(encoding)
    assert guess_encoding(content) == encoding and decode(content, "a.csv", encoding) == text
    with pytest.raises(UserError, match=rf"cure: +encoding={encoding}"):
        decode(content, "a.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_are_believed_and_left_out(encoding: str) -> None:
    assert decode("größe,评论".encode(encoding), "a.csv") == "größe,评论"


def test_of_several_encodings_the_first_that_fits() -> None:
    for encoding in ("utf-8", "gb18030", "utf-16"):
        content = "标签,评论\n好,很好\n".encode(encoding)
        assert decode(content, "a.csv", "utf-8,gb18030") == "标签,评论\n好,很好\n"
        lines = decoded_lines(content.splitlines(keepends=True), "a.csv", "utf-8,gb18030")
        assert list(lines) == [(1, "标签,评论\n"), (2, "好,很好\n")]


def test_what_is_named_wrongly_is_told() -> None:
    with pytest.raises(UserError, match="there is no encoding 'utf-9'"):
        decode(b"a", "a.csv", "utf-9")
    with pytest.raises(UserError, match=r"it is not big5(.|\n)*a.csv, line 2, byte 3"):
        decode(b"ab\n\xff\xff", "a.csv", "big5")
    with pytest.raises(UserError, match="it is no text"):
        decode(b"ab\0c" * 3, "a.csv")

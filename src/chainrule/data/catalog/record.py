"""The record of a published data set."""

from __future__ import annotations

from dataclasses import dataclass, field

BY_SEED = "none: made by the seed"  # the split of a data set that was published without one
UCI = "CC BY 4.0 (UCI)"


@dataclass(frozen=True)
class Source:
    """A published data set.

    `files` maps official file names to their SHA-256. Where `address` is that of an archive, which holds the files, the
    sum is that of the archive, `archive_sha256`. `folder` is its folder below a mirror, by default its name. Without an
    address the files cannot be fetched: `made` says how to make them.
    """

    name: str
    kind: str
    content: str
    split: str
    licence: str
    address: str = ""
    files: dict[str, str | None] = field(default_factory=dict)
    archive_sha256: str | None = None
    shipped_with: str = ""
    folder: str = ""
    made: str = ""  # how the files were made of what was published, where they cannot be fetched as they are
    columns: tuple[str, ...] = ()  # of a table whose file has no line of column names; the last is the usual target

    @property
    def how_to_get(self) -> str:
        """What comes before the first training: nothing, a download, or files that one makes oneself.

        >>> Source("iris", "table", "", "", "", shipped_with="scikit-learn").how_to_get
        ''
        """
        return "" if self.shipped_with else "download" if self.address else "by hand"

    @property
    def is_one_table(self) -> bool:
        """Whether it is a single file that holds a table, and so resolves to that file."""
        return self.kind in ("table", "series") and len(self.files) == 1

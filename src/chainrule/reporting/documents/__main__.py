"""The command line: writes the generated documents, or says which are not up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chainrule.reporting.documents.generate import documents, stale, write


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m chainrule.reporting.documents", description="Writes the documents that are made of records."
    )
    parser.add_argument("--root", type=Path, default=Path(), help="the repository; where you are, unless named")
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 where one is not up to date")
    chosen = parser.parse_args()
    if not (chosen.root / "README.md").is_file():
        parser.error(f"{chosen.root.resolve()} has no README.md; give the repository as --root")
    made = documents(chosen.root)
    old = stale(chosen.root, made)
    if not chosen.check:
        write(chosen.root, made)
    for path in old:
        print(path, "is not up to date" if chosen.check else "written")
    sys.exit(1 if old and chosen.check else 0)


if __name__ == "__main__":
    main()

"""Whether data are read into memory or stay where they are stored: decided by how much memory is free."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from chainrule.core.errors import UserError

SHARE = 4  # of the memory that is free, data take a quarter at most: splits and layouts are copies of them
SETTING = "CHAINRULE_IN_MEMORY"


def choose_memory(wanted: int, chosen_before: dict[str, Any] | None = None) -> dict[str, Any]:
    """Whether `wanted` bytes are read into memory, `chosen`, and the `reason` in words; a resumed run repeats its choice.

    CHAINRULE_IN_MEMORY=yes or =no in the environment decides for a new run; `auto` is the rule.
    """
    if chosen_before is not None:
        return chosen_before
    asked = os.environ.get(SETTING, "auto")
    if asked not in ("auto", "yes", "no"):
        raise UserError(
            "the environment asks for what is not known", expected="auto, yes or no", found=f"{SETTING}={asked}"
        )
    if asked != "auto":
        return {"chosen": asked == "yes", "reason": f"{SETTING}={asked}"}
    free = free_memory()
    if free is None:
        return {"chosen": True, "reason": "how much memory is free is not known"}
    fits = wanted * SHARE <= free
    return {
        "chosen": fits,
        "reason": f"{_size(wanted)} {'are' if fits else 'are not'} within 1/{SHARE} of the {_size(free)} that are free",
    }


def free_memory() -> int | None:
    """Bytes that this process may still take: what the machine, its control groups and its own limits leave.

    None where the system does not tell.
    """
    left = [_of_machine(), *_of_groups(), *_of_limits()]
    known = [value for value in left if value is not None]
    return max(0, min(known)) if known else None


def _of_machine() -> int | None:
    found = _table(Path("/proc/meminfo")).get("MemAvailable")
    if found is not None:
        return found * 1024
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int | None]:
    """What each control group above this process leaves, of version 2 and of version 1; cached files give way."""
    left: list[int | None] = []
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        old = "memory" in controllers.split(",")
        if controllers and not old:
            continue
        top = root / "memory" if old else root
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if old else ("memory.max", "memory.current")
        place = top / path.lstrip("/")
        for folder in [place, *place.parents]:
            limit, used = (_text(folder / name).strip() for name in names)
            if limit.isdigit() and used.isdigit():
                stat = _table(folder / "memory.stat")
                cached = stat.get("total_inactive_file", stat.get("inactive_file", 0))
                left.append(int(limit) - int(used) + cached)
            if folder == top:
                break
    return left


def _of_limits() -> list[int | None]:
    """What `ulimit -d` and `ulimit -v` leave."""
    try:
        import resource
    except ImportError:  # Windows
        return []
    used = _table(Path("/proc/self/status"))
    kinds = ((resource.RLIMIT_DATA, "VmData"), (resource.RLIMIT_AS, "VmSize"))
    return [
        resource.getrlimit(kind)[0] - used[name] * 1024
        for kind, name in kinds
        if resource.getrlimit(kind)[0] != resource.RLIM_INFINITY and name in used
    ]


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError:
        return ""


def _table(file: Path) -> dict[str, int]:
    """Lines of a name and a number, as /proc and control groups write them."""
    rows = [line.replace(":", " ").split() for line in _text(file).splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _size(count: int) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"

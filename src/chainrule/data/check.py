"""`chainrule data check`: what the user's own data are recognised as, counted, and what is wrong with them."""

from __future__ import annotations

from typing import Any

from chainrule.core.data.request import DataRequest
from chainrule.core.discovery import options_of
from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import expect_one_meaning
from chainrule.data.kinds.recognition import look, recognise
from chainrule.data.labels import alike_in_words
from chainrule.data.layout import Place


def check(place: Place, target: str | None) -> dict[str, Any]:
    """What a path (or a known data set's name, or several sources) is, as plain JSON.

    Keys: `kind` (a name of `chainrule.core.discovery.all_kinds`), `where`, counts of each split as found, `made`
    (what training would hold out), and by kind `classes`, `channels`, `sizes`, `columns`, `characters`.

    Args:
        place: a file, a folder, a name that `chainrule data list` shows, or a request of several sources.
        target: the column of labels, for tables.

    Raises:
        UserError: names what is wrong; of images that cannot be read, up to twenty together.
    """
    if isinstance(place, (str, DataRequest)):
        expect_one_meaning(*(place.sources.values() if isinstance(place, DataRequest) else [place]))
    layout = look(place)
    kind = recognise(layout, target)
    for name in layout.options:
        if name not in options_of([kind.name]):
            raise UserError(
                f"{kind.noun} has no setting {name!r}",
                where=layout,
                expected="one of " + ", ".join(options_of([kind.name])) if options_of([kind.name]) else "no setting",
            )
    if kind.single:
        raise UserError(
            f"{kind.noun} is no data set",
            where=layout,
            expected="a folder with one subfolder a class",
            cure=f"chainrule data check {layout.train.parent}, or chainrule predict RUN {layout}",
        )
    found = kind.check(layout, target)
    classes = found.get("classes")
    remarks = alike_in_words(classes) if isinstance(classes, list) else []
    if remarks:
        found["warning"] = "; ".join([*filter(None, [found.get("warning")]), *remarks])
    return found

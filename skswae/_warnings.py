"""Warnings that point at the caller's line, however deep in the package they come from."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

from skswae._processes import active

_SKIPPED = {
    *("skswae", "sklearn", "joblib", "contextlib", "functools", "pickle", "copy"),
    *("multiprocessing", "threading", "concurrent"),
}


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn in the innermost line that is neither this package's nor of what calls it for the user.

    A fixed number of calls to go back would be another for ``fit`` than for ``fit_transform``, in a pipeline
    and in a search. Where there is no other line, as in a thread, it is the outermost one.
    Of several processes that share a fit the first one warns.
    """
    group = active()
    if group is not None and group.rank > 0:
        return
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and (frame.f_globals.get("__name__") or "").partition(".")[0] in _SKIPPED:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level if frame else level - 1)

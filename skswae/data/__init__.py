"""Where training rows come from.

:class:`ArrayData` reads an array in memory or in a file. Subclass :class:`DataSource` for rows that are kept
in any other way: a class with ``shape``, ``dtype`` and ``read``. :class:`LocalRows` are those that one of
several processes has.
"""

from skswae.data._array import ArrayData
from skswae.data._local import LocalRows
from skswae.data._source import DataSource

__all__ = ["ArrayData", "DataSource", "LocalRows"]

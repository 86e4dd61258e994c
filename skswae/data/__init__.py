"""Where training rows come from.

:class:`ArrayData` reads an array in memory or in a file, :class:`ParquetRows` parquet files that may be
larger than the memory, and :class:`LocalRows` are those that one of several processes has. Subclass
:class:`DataSource` for rows that are kept in any other way: a class with ``shape``, ``dtype`` and ``read``.
"""

from skswae.data._array import ArrayData
from skswae.data._blocks import Blocks
from skswae.data._local import LocalRows
from skswae.data._parquet import ParquetRows
from skswae.data._source import DataSource

__all__ = ["ArrayData", "Blocks", "DataSource", "LocalRows", "ParquetRows"]

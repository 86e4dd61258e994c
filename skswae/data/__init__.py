"""Where training rows come from.

:class:`ArrayData` reads an array in memory or in a file, :class:`ParquetRows` parquet files that may be
larger than the memory, :class:`SlicedRows` an array-like object that is read by slices, and
:class:`BatchRows` an iterable of batches, for training. :class:`LocalRows` are those that one of several
processes has. Subclass :class:`DataSource` for rows that are kept in any other way: a class with ``shape``,
``dtype`` and ``read``. :func:`transform_parquet` writes the codes of all rows of a source to a file.
"""

from skswae.data._array import ArrayData
from skswae.data._batches import BatchRows
from skswae.data._blocks import Blocks
from skswae.data._codes import transform_parquet
from skswae.data._local import LocalRows
from skswae.data._parquet import ParquetRows
from skswae.data._sliced import SlicedRows
from skswae.data._source import DataSource

__all__ = [
    "ArrayData",
    "BatchRows",
    "Blocks",
    "DataSource",
    "LocalRows",
    "ParquetRows",
    "SlicedRows",
    "transform_parquet",
]

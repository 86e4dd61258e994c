"""Pictures of fitted autoencoders, as scikit-learn's Displays.

``XDisplay.from_estimator(estimator, X)`` computes and draws; the numbers stay on the object, and
``display.plot(ax=...)`` draws them again. Where the numbers come from elsewhere, ``XDisplay.from_arrays``
takes them. Matplotlib is needed to draw: the extra ``plot``.

The estimator is one of this package's, or a fitted ``Pipeline`` with one, after which other steps may come:
rows are then in the units of the pipeline's input, to which what the model decodes is mapped back by the
earlier steps' ``inverse_transform``. ``step`` names the step where there are several. Whatever else has the
methods that a picture needs, such as PCA, is drawn too.

Rows are drawn as ``kind`` says. "auto" takes

========= =========================================================================================
"image"   where ``image_shape`` is given, or the network has one with as many numbers as a row
"bar"     up to 16 columns: in standard deviations from the columns' means
"heatmap" 17 to 64 columns: the same as colours
"curve"   more columns, in their order, in their own units; over their names where these are numbers
          that ascend, such as wavelengths
========= =========================================================================================

Many columns in no order are better seen with ``kind="heatmap"``.
"""

from skswae.inspection._denoising import DenoisingDisplay
from skswae.inspection._interpolation import InterpolationDisplay
from skswae.inspection._latent import LatentDisplay
from skswae.inspection._loss_curve import LossCurveDisplay
from skswae.inspection._neighborhood import NeighborhoodDisplay
from skswae.inspection._reconstruction import ReconstructionDisplay
from skswae.inspection._sample import SampleDisplay
from skswae.inspection._table import TableDisplay

__all__ = [
    "DenoisingDisplay",
    "InterpolationDisplay",
    "LatentDisplay",
    "LossCurveDisplay",
    "NeighborhoodDisplay",
    "ReconstructionDisplay",
    "SampleDisplay",
    "TableDisplay",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name

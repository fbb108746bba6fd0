"""PatternSeries, the one record that simulator and readers make and everything after them takes."""

from xrd_jax.series.axis import Axis as Axis
from xrd_jax.series.axis import Target as Target
from xrd_jax.series.record import PatternSeries as PatternSeries

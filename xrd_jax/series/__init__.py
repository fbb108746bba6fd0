"""PatternSeries, the one record that simulator and readers make and everything after them takes."""

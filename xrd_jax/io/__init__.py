"""Readers: files of measured patterns and of the cell they were measured in become one PatternSeries."""

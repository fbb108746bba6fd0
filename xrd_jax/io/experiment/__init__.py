"""An experiment file and what it names become one PatternSeries."""

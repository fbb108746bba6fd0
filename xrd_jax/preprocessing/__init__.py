"""From a series to network inputs: window, scale, resize, split; statistics from training patterns only."""

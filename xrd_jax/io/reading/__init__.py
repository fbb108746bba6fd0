"""Many files at once, remembered by content."""

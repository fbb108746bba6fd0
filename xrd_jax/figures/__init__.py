"""Every figure; the only room that draws."""

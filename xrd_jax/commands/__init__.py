"""A finished run at work: predictions of new files, a folder followed live, networks that leave the package."""

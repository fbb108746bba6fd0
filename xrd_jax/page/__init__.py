"""report.html: a run as one file that opens anywhere, with linked panels and without a server or the network."""

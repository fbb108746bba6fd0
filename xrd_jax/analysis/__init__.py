"""Maps, tables and figures of a finished run; nothing here trains."""

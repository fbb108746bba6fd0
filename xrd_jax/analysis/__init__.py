"""What a trained run says: predictions, maps, errors and distances; nothing here trains or draws."""

"""How numbers moved from commit to commit: series of comparable records, their changes, and three skins."""

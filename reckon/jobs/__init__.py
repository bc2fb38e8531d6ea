"""What Reckon does, one file each: ask the world holding nothing, then decide and commit in one transaction."""

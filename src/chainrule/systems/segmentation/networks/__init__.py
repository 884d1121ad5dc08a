"""Networks that answer every pixel, a file each, and how their maps are enlarged, padded and cut."""

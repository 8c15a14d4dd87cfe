"""Results turned into files: one HTML page to read, one JSON file to compute with."""

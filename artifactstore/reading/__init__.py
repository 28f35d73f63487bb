"""Reading stored files: whole, by ranges, as streams."""

from artifactstore.reading.stream import open_file as open_file

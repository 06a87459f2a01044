"""The protocol of a link without I/O: bytes in, events out."""

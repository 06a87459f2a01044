"""One file per system: how the same few things are done with it."""

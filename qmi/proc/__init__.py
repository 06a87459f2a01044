"""Starting, stopping and watching programs, here and over SSH."""

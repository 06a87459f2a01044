"""Control laboratory equipment from Python."""

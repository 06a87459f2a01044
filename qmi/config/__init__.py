"""What can be configured, and how a configuration file is read."""

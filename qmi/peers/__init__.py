"""Where actors meet links: connecting, accepting, calls and signals over a link."""

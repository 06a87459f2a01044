"""What measures of a site have in common: its server, and light programs that listen or are merely there."""

"""What a parameter of an instrument is: its rules, and the texts of devices for its values. Pure."""

"""What a parameter of an object is: its declaration, its rules, the texts of devices for its values. Pure."""

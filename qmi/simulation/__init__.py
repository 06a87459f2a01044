"""What a simulated device does: pure, so that the time is given to it, and bytes go in and out."""

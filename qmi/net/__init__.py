"""Links between programs: frames, values, handshakes, discovery."""

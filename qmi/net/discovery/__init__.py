"""Discovery over UDP: questions and answers, and the sockets for them."""

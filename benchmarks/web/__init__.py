"""The pages under load: a measuring program, the server of the pages, and browsers, each a process of its own."""

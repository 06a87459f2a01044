"""How values, types and members of objects are shown to people, and read from what they write.

For tools and pages alike: what is typed on a command line and what is sent by a browser is checked by the same rules.
"""

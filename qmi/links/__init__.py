"""Where links and actors meet: the requests of either side of a link, their answers, and the proxies in them.

How links come and go is in :mod:`qmi.connections`.
"""

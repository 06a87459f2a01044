"""How drivers reach their devices: transports, and protocols on them. Users import them from :mod:`qmi.core`."""

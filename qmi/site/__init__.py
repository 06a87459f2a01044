"""A site: what contexts of one workgroup say to each other through servers of NATS."""

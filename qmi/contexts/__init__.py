"""A context: what it owns, its blocking and its async facade, the background loop, the default one."""

"""The verbs, one file each: settings and sources in, one artifact out. They never import one another."""

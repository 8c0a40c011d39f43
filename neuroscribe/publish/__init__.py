"""Publication: what leaves the store for other people, as files in layouts they can read."""

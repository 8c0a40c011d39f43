"""Publication: what leaves the store for other people, as files in layouts they can read.

Holds the dataset, its layouts, its manifest and its card. Imports the tables, the subject's units, and the
rules that scores must keep before they leave. Not here: what only the user of this program looks at
(`report`).
"""

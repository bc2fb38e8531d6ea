"""Where snapshots come from. Each source is a package that knows one upstream and yields `reckon.core.records`."""

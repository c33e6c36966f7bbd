"""Worker managers: they bring capacity by starting and stopping workers somewhere."""

"""Worker managers: they bring capacity to a scheduler by starting workers somewhere."""

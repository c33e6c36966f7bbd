"""The commands, one file each: what is peculiar to a command is its table of options and the service it runs."""

"""What monitors show: the feed, and the model that it is folded into."""

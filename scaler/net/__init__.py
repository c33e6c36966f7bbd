"""Asyncio: connections, and the one driver that runs any state over them."""

"""Familiar doors: other libraries' interfaces, with Scaler behind them. Each is optional in what it depends on."""

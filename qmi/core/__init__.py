"""The public import paths; what lies behind them may move."""

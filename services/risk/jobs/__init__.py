"""Long work of risk in a process of its own (libs.jobs).

kinds.py     what jobs risk has, and the runner of each
backtest.py  the runner of backtests
training.py  the runner of trainings
"""

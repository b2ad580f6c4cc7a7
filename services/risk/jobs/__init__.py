"""Background work: screening again after a change of a list, and long work in a process of its own (libs.jobs).

rescreening.py  screens again what was assessed against other lists
kinds.py        the runner of each kind of long work
backtest.py     the runner of backtests
training.py     the runner of trainings
"""

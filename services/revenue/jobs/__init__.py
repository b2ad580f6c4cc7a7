"""Long work of revenue in a process of its own (libs.jobs).

kinds.py    what jobs revenue has, and the runner of each
plan.py     what a what-if run was asked for
what_if.py  the runner of what-if runs
"""

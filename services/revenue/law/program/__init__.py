"""The compiled law: rulebooks, tariffs and exchange tables as columns, and the plans in which decided cases are stored.

Imports `source` and `batch`. `program` is what is compiled, of the parts beside it (conditions, expressions, exchange, coverage,
beneficiaries, scheme numbers). `features`, `conversions` and `plans` are found by a program and are no part of it. `compiler`
makes programs, and nothing else in this package imports it.
"""

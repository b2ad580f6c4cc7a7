"""The feed: how a service announces the facts that it made true, and how others follow them, each event taking effect exactly once.

Producers write with `Outbox` in their own transactions and serve `FeedServicer`; `Maintenance` makes and drops days.
Consumers run a `Consumer` with a `Handler` over a `GrpcPort` and serve `DeadLetterServicer`.
"""

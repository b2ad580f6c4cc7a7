"""What the services share, one concern a package. No lib imports a service."""

import os

# A process here forks only to start another program. gRPC's own fork handlers crash such a child while calls run in
# other threads (grpcio 1.85: a third of them), so they are switched off before the first import of grpc reads this.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# gRPC's core prints lines of its own to stderr, for each failed handshake one; every line of a service's log is JSON.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

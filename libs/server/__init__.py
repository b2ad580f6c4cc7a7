"""What every service stands on at its gRPC edge: settings, TLS, identity, errors, the chain, the server, channels."""

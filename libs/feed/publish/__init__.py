"""The producer's side: facts are announced in the transaction that makes them true, and read under the horizon."""

"""Tables that services share: how they are defined, migrated, filled and cleared."""
